//! What `bpftool` says about native maps.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use loader::session::Elements;

/// Every element of native map `id`: raw key and value bytes, sorted by key.
pub fn map_dump(id: u32) -> Result<Elements> {
    let output = Command::new("bpftool")
        .args(["-j", "map", "dump", "id", &id.to_string()])
        .output()
        .context("bpftool")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "bpftool map dump id {id}: {stderr}"
    );
    let dump: Vec<Value> = serde_json::from_slice(&output.stdout).context("bpftool's JSON")?;
    let mut elements = Vec::new();
    for element in &dump {
        elements.push((hex(&element["key"])?, hex(&element["value"])?));
    }
    elements.sort();
    Ok(elements)
}

/// `["0x01", "0x02"]` as bytes.
fn hex(bytes: &Value) -> Result<Vec<u8>> {
    let bytes = bytes.as_array().context("bytes in bpftool's dump")?;
    let byte = |b: &Value| {
        let digits = b
            .as_str()
            .and_then(|b| b.strip_prefix("0x"))
            .context("a byte")?;
        Ok(u8::from_str_radix(digits, 16)?)
    };
    bytes.iter().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::hex;
    use serde_json::json;

    #[test]
    fn bytes_are_read_as_bpftool_prints_them() {
        assert_eq!(hex(&json!(["0x00", "0xff"])).unwrap(), [0, 255]);
        assert!(hex(&json!(["zz"])).is_err() && hex(&json!(7)).is_err());
    }
}

//! The plain kernel inside a bootable image.
//!
//! QEMU boots an uncompressed kernel directly (PVH), which spares the emulated CPU the decompression: 3 of the 7 s
//! that a boot of Debian's 6.1 takes. Format: `Documentation/arch/x86/boot.rst`, "payload_offset".

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::exec::{command, output};

/// How kernels are compressed here: the first bytes, and what unpacks to stdout.
const FORMATS: &[(&[u8], [&str; 2])] = &[
    (b"\xfd7zXZ\0", ["xz", "-dc"]),
    (b"\x28\xb5\x2f\xfd", ["zstd", "-dc"]),
];

/// Writes the kernel in the image `from` to `to`.
pub(crate) fn unpack(from: &Path, to: &Path) -> Result<()> {
    let image = fs::read(from)?;
    let payload = payload(&image).with_context(|| format!("{}: no bzImage", from.display()))?;
    let Some((_, tool)) = FORMATS.iter().find(|(magic, _)| payload.starts_with(magic)) else {
        bail!("{}: compressed in an unknown way", from.display());
    };
    let packed = to.with_extension("packed");
    fs::write(&packed, payload)?;
    let unpack = "\"$@\" \"$IN\" >\"$OUT\"";
    output(
        command(["sh", "-c", unpack, "sh"])
            .args(tool)
            .env("IN", &packed)
            .env("OUT", to),
    )?;
    fs::remove_file(&packed)?;
    Ok(())
}

/// The compressed kernel, without the size that is appended to it.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word =
        |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(0x202..0x206) != Some(b"HdrS") {
        return None;
    }
    let setup = (usize::from(*image.get(0x1f1)?) + 1) * 512;
    let start = setup + word(0x248)?;
    image.get(start..start + word(0x24c)?.checked_sub(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_lies_behind_the_setup_sectors() {
        let mut image = vec![0; 2048];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248] = 16;
        image[0x24c] = 12;
        image[1024 + 16..1024 + 24].copy_from_slice(b"deadbeef");
        assert_eq!(payload(&image), Some(&b"deadbeef"[..]));
        image[0x202] = 0;
        assert_eq!(payload(&image), None);
        assert_eq!(payload(b"short"), None);
    }
}

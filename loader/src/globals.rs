//! Names and values of a module's global variables (`.bss`, `.data`, `.rodata`).

use abi::manifest::{Manifest, Symbol};
use bpf2wasm::btf::{Btf, describe};
use serde_json::{Map, Value, json};

use crate::btf_value;
use crate::device;
use crate::variables;

/// A global variable at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Global {
    /// The data section it is in.
    pub section: String,
    /// Its name.
    pub name: String,
    /// Its type, as C writes it; empty if unknown.
    pub ty: String,
    /// Its value; the bytes in hexadecimal where the type is unknown.
    pub value: Value,
}

/// Reads every global variable; `maps` are the module's, found by name.
pub fn read(
    manifest: &Manifest,
    btf: Option<&Btf>,
    maps: &[device::Map],
) -> device::Result<Vec<Global>> {
    let mut globals = Vec::new();
    for section in &manifest.maps {
        let Some(data) = &section.data else { continue };
        let Some(map) = maps.iter().find(|m| m.name() == section.name) else {
            continue;
        };
        let bytes = map.lookup(&0u32.to_ne_bytes(), 1)?.unwrap_or_default();
        for symbol in &data.symbols {
            let (ty, value) = typed(symbol, btf, &bytes);
            let name = variables::within(section, symbol);
            let section = section.name.clone();
            globals.push(Global {
                section,
                name,
                ty,
                value,
            });
        }
    }
    Ok(globals)
}

fn typed(symbol: &Symbol, btf: Option<&Btf>, section: &[u8]) -> (String, Value) {
    let from = symbol.offset as usize;
    let bytes = section
        .get(from..from + symbol.size as usize)
        .unwrap_or_default();
    match btf.filter(|_| symbol.type_id != 0) {
        Some(btf) => (
            describe(btf, symbol.type_id),
            btf_value::decode(btf, symbol.type_id, bytes),
        ),
        None => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            (String::new(), json!(hex))
        }
    }
}

/// `{section: {name: value}}`.
pub fn to_json(globals: &[Global]) -> Value {
    let mut sections = Map::new();
    for global in globals {
        let section = sections
            .entry(global.section.clone())
            .or_insert_with(|| json!({}));
        section[&global.name] = global.value.clone();
    }
    Value::Object(sections)
}

/// A line a variable.
pub fn to_text(globals: &[Global]) -> String {
    let name = globals.iter().map(|g| g.name.len()).max().unwrap_or(0);
    let ty = globals.iter().map(|g| g.ty.len()).max().unwrap_or(0);
    let line = |g: &Global| format!("{:<name$}  {:<ty$}  {}\n", g.name, g.ty, g.value);
    globals.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(offset: u32, size: u32) -> Symbol {
        Symbol {
            name: "x".into(),
            offset,
            size,
            type_id: 0,
        }
    }

    #[test]
    fn variables_without_a_type_are_bytes() {
        let (ty, value) = typed(&symbol(1, 2), None, &[1, 2, 0xab]);
        assert_eq!((ty.as_str(), value), ("", json!("02ab")));
        assert_eq!(typed(&symbol(9, 2), None, &[1]).1, json!(""));
    }

    #[test]
    fn both_forms_name_the_variable() {
        let stats = Global {
            section: ".bss".into(),
            name: "stats".into(),
            ty: "__u64[2]".into(),
            value: json!([1, 2]),
        };
        assert_eq!(
            to_json(std::slice::from_ref(&stats)),
            json!({".bss": {"stats": [1, 2]}})
        );
        assert_eq!(to_text(&[stats]), "stats  __u64[2]  [1,2]\n");
    }
}

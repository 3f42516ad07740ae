//! A module's maps, element by element, decoded by BTF where the object types them.

use abi::manifest::Manifest;
use abi::map_types::MapType;
use bpf2wasm::btf::Btf;
use serde_json::{Map as Object, Value, json};

use crate::btf_value;
use crate::device;

/// A map's contents at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Dump {
    /// Its name.
    pub name: String,
    /// Keys and values; a per-CPU value is an array.
    pub elements: Vec<(Value, Value)>,
}

/// Dumps every map that has elements to read, data sections excluded.
pub fn all(
    manifest: &Manifest,
    btf: Option<&Btf>,
    maps: &[device::Map],
    cpus: u32,
) -> device::Result<Vec<Dump>> {
    let mut dumps = Vec::new();
    for described in manifest.maps.iter().filter(|m| m.data.is_none()) {
        let Some(map) = maps.iter().find(|m| m.name() == described.name) else {
            continue;
        };
        if !has_elements(described.map_type) {
            continue;
        }
        let typed = |id, bytes: &[u8]| match btf.filter(|_| id != 0) {
            Some(btf) => btf_value::decode(btf, id, bytes),
            None => hex(bytes),
        };
        let value = |bytes: &[u8]| match bytes.len() > described.value_size as usize {
            false => typed(described.value_type, bytes),
            true => {
                let each = bytes.chunks_exact(bytes.len() / cpus.max(1) as usize);
                each.map(|bytes| typed(described.value_type, bytes))
                    .collect()
            }
        };
        let elements = map.dump(cpus)?;
        let elements = elements
            .iter()
            .map(|(k, v)| (typed(described.key_type, k), value(v)));
        dumps.push(Dump {
            name: described.name.clone(),
            elements: elements.collect(),
        });
    }
    Ok(dumps)
}

/// Whether a map of this type is a set of elements that user space can walk.
fn has_elements(map_type: u32) -> bool {
    use MapType::{Array, Hash, LruHash, LruPercpuHash, PercpuArray, PercpuHash, StackTrace};
    let map_type = MapType::from_id(map_type);
    matches!(
        map_type,
        Some(Array | Hash | LruHash | LruPercpuHash | PercpuArray | PercpuHash | StackTrace)
    )
}

fn hex(bytes: &[u8]) -> Value {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    json!(hex)
}

/// `{map: [{key, value}]}`.
pub fn to_json(dumps: &[Dump]) -> Value {
    let map = |dump: &Dump| {
        let element = |(k, v): &(Value, Value)| json!({ "key": k, "value": v });
        (
            dump.name.clone(),
            dump.elements.iter().map(element).collect(),
        )
    };
    Value::Object(dumps.iter().map(map).collect::<Object<_, _>>())
}

/// A line an element.
pub fn to_text(dumps: &[Dump]) -> String {
    let mut text = String::new();
    for dump in dumps {
        text += &format!("{}: {} elements\n", dump.name, dump.elements.len());
        for (key, value) in &dump.elements {
            text += &format!("  {key}: {value}\n");
        }
    }
    text
}

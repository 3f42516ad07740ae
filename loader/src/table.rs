//! Elements of maps, and which types of maps have some.

use abi::map_types::MapType;

use crate::meaning::Meaning;
use crate::record::Record;
use crate::session::Elements;

/// The elements of a map at one moment.
#[derive(Clone, Debug)]
pub struct Table {
    /// The map.
    pub name: String,
    /// Keys, and values: one, or one a CPU.
    pub elements: Vec<(Record, Vec<Record>)>,
}

impl Table {
    /// Map `name` with `elements`, whose keys and values are read so; `per_cpu` is how many bytes each CPU's value has.
    pub(crate) fn of(
        name: &str,
        elements: &Elements,
        per_cpu: Option<usize>,
        key: impl Fn(&[u8]) -> Record,
        value: impl Fn(&[u8]) -> Record,
    ) -> Self {
        let values = |bytes: &[u8]| match per_cpu {
            Some(size) => {
                let each = bytes.chunks_exact(size.next_multiple_of(8).max(1));
                each.map(|bytes| value(&bytes[..size])).collect()
            }
            None => vec![value(bytes)],
        };
        let element = |(k, v): &(Vec<u8>, Vec<u8>)| (key(k), values(v));
        Table {
            name: name.to_owned(),
            elements: elements.iter().map(element).collect(),
        }
    }

    /// Has the numbers in `field` of all elements stand for something; a key or value without fields is `key` or `value`.
    pub(crate) fn mean(&mut self, field: &str, meaning: Meaning) {
        for (key, values) in &mut self.elements {
            key.mean(if field == "key" { "" } else { field }, meaning);
            for value in values {
                value.mean(if field == "value" { "" } else { field }, meaning);
            }
        }
    }
}

pub(crate) fn is_per_cpu(map_type: u32) -> bool {
    use MapType::{LruPercpuHash, PercpuArray, PercpuHash};
    matches!(
        MapType::from_id(map_type),
        Some(LruPercpuHash | PercpuArray | PercpuHash)
    )
}

pub(crate) fn is_array(map_type: u32) -> bool {
    use MapType::{Array, PercpuArray};
    matches!(MapType::from_id(map_type), Some(Array | PercpuArray))
}

/// Whether a map of this type is a set of elements that user space can walk.
pub(crate) fn has_elements(map_type: u32) -> bool {
    use MapType::{Array, Hash, LruHash, LruPercpuHash, PercpuArray, PercpuHash};
    let map_type = MapType::from_id(map_type);
    matches!(
        map_type,
        Some(Array | Hash | LruHash | LruPercpuHash | PercpuArray | PercpuHash)
    )
}

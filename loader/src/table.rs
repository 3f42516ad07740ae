//! Elements of maps, and which types of maps have some.

use std::iter;

use abi::map_types::MapType;
use serde_json::Value;

use crate::meaning::Meaning;
use crate::record::{Cell, Record};
use crate::session::Elements;

/// The elements of a map at one moment.
#[derive(Clone, Debug)]
pub struct Table {
    /// The map.
    pub name: String,
    /// Keys, and values: one, or one a CPU.
    pub elements: Vec<(Record, Vec<Record>)>,
    /// How many elements were left out because they are of who reads.
    pub own: usize,
}

/// Who reads: a process that waits is in what it measures.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    process: u32,
    name: String,
}

impl Reader {
    /// This process.
    pub(crate) fn this() -> Self {
        let name = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
        Reader {
            process: std::process::id(),
            name: name.trim_end_matches('\n').to_owned(),
        }
    }

    fn is(&self, cell: &Cell) -> bool {
        match cell {
            Cell::Plain(Value::String(name)) => *name == self.name,
            Cell::Plain(number) => number.as_u64() == Some(self.process.into()),
            _ => false,
        }
    }
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
            own: 0,
        }
    }

    /// Leaves out what is of `reader`: elements in which each of `fields`, which say of whom one is, holds its number or name.
    pub(crate) fn leave_out(&mut self, reader: &Reader, fields: &[String]) {
        let of_reader = |key: &Record, values: &[Record], field: &String| {
            let mut records = iter::once(key).chain(values);
            let cell = records.find_map(|record| record.cell(field));
            cell.is_some_and(|cell| reader.is(cell))
        };
        let count = self.elements.len();
        self.elements.retain(|(key, values)| {
            let mut fields = fields.iter();
            fields.len() == 0 || !fields.all(|field| of_reader(key, values, field))
        });
        self.own += count - self.elements.len();
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::Field;

    fn record(fields: &[(&str, Value)]) -> Record {
        let field = |(name, value): &(&str, Value)| Field {
            name: (*name).to_owned(),
            cell: Cell::Plain(value.clone()),
        };
        Record {
            fields: fields.iter().map(field).collect(),
        }
    }

    #[test]
    fn what_is_of_the_reader_is_left_out_and_counted() {
        let reader = Reader {
            process: 7,
            name: "wprobe".to_owned(),
        };
        let element = |process: u32, name: &str| {
            let key = record(&[("tgid", json!(process))]);
            (key, vec![record(&[("comm", json!(name))])])
        };
        let mut table = Table {
            name: "info".to_owned(),
            elements: vec![element(7, "wprobe"), element(7, "sh"), element(8, "wprobe")],
            own: 0,
        };
        table.leave_out(&reader, &[]);
        assert_eq!((table.elements.len(), table.own), (3, 0));
        table.leave_out(&reader, &["tgid".to_owned(), "other".to_owned()]);
        assert_eq!((table.elements.len(), table.own), (3, 0));
        // Another process has its number in a container, or its name.
        table.leave_out(&reader, &["tgid".to_owned(), "comm".to_owned()]);
        assert_eq!(table.elements, [element(7, "sh"), element(8, "wprobe")]);
        assert_eq!(table.own, 1);
    }

    #[test]
    fn who_reads_is_this_process() {
        let this = Reader::this();
        assert!(this.is(&Cell::Plain(json!(std::process::id()))));
        assert!(!this.is(&Cell::Plain(json!(0))) && !this.name.is_empty());
    }
}

//! What a value consists of: its fields by BTF, each with its place, so that two values can be held against each other
//! field by field.

use abi::manifest::Map;
use bpf2wasm::btf::{Btf, Kind, Type};

use crate::event_types::{Source, Stream};
use crate::{btf_value, variables};

/// Fields of one value at most; what is beyond is compared as bytes.
const MAX_FIELDS: usize = 100_000;
/// More bytes than an event has.
const REST: usize = 1 << 24;
/// How fields are called that no member is.
const PADDING: &str = "padding at ";
/// How deep values may nest.
const MAX_DEPTH: usize = 32;

/// What the bytes of a field mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sense {
    /// A number, little-endian.
    Number {
        /// Whether it is signed.
        signed: bool,
    },
    /// Text, as far as a NUL.
    Text,
    /// Just bytes.
    Bytes,
}

/// A scalar in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// How C would name it, from the value on: `slots[3]`, `key.dev`; empty for the whole value.
    pub(super) path: String,
    /// Bytes from the start of the value.
    pub(super) at: usize,
    /// How many bytes it has.
    pub(super) size: usize,
    /// What they mean.
    pub(super) sense: Sense,
}

/// The fields of a value, which cover all its bytes in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// In order of their places.
    pub(super) fields: Vec<Field>,
}

impl Field {
    /// Whether no member of the type is there.
    fn is_padding(&self) -> bool {
        self.path.starts_with(PADDING)
    }
}

impl Shape {
    /// A value of type `id`, of `size` bytes.
    pub(super) fn of(btf: Option<&Btf>, id: u32, size: usize) -> Self {
        let mut found = Found::default();
        if let Some(btf) = btf.filter(|_| id != 0) {
            found.collect(btf, id, String::new(), 0, 0);
        }
        found.covering(size)
    }

    /// What `stream` sends: the members of its type. What lies between them is compared where programs store it (as zeros, mostly); else,
    /// and behind them, rings and perf's buffers have bytes that no program stored. `None` where nobody knows what events are.
    pub(super) fn of_events(stream: &Stream) -> Option<Self> {
        let (btf, id) = stream.ty.as_ref()?;
        let mut found = Found::default();
        found.collect(btf, *id, String::new(), 0, 0);
        let size = btf.size_of(*id).unwrap_or(0) as usize;
        let mut shape = found.covering(size);
        let stores = stream.sent.iter().flat_map(|sent| &sent.stores);
        let is_stored = |field: &Field| {
            let (from, to) = (field.at as u32, (field.at + field.size) as u32);
            let mut stores = stores.clone();
            stores.any(|store| store.at < to && store.at + store.size > from)
        };
        shape
            .fields
            .retain(|field| !field.is_padding() || is_stored(field));
        let depends = stream.sent.as_ref().is_some_and(|sent| sent.size.is_none());
        if depends && stream.source == Source::Code {
            // What is stored at places that depend.
            shape.fields.push(Field {
                path: "rest".to_owned(),
                at: size,
                size: REST,
                sense: Sense::Bytes,
            });
        }
        Some(shape)
    }

    /// A data section: its variables.
    pub(super) fn of_section(btf: Option<&Btf>, section: &Map) -> Self {
        let mut found = Found::default();
        for symbol in section.data.iter().flat_map(|data| &data.symbols) {
            let (at, size) = (symbol.offset as usize, symbol.size as usize);
            let name = variables::within(section, symbol);
            match btf.filter(|_| symbol.type_id != 0) {
                Some(btf) => found.collect(btf, symbol.type_id, name, at, 0),
                None => found.add(name, at, size, Sense::Bytes),
            }
        }
        found.covering(section.value_size as usize)
    }

    /// `count` such values in a row, each padded to 8 bytes: a per-CPU map's.
    pub(super) fn per_cpu(&self, size: usize, count: usize) -> Self {
        let mut found = Found::default();
        let each = size.next_multiple_of(8);
        for cpu in 0..count {
            for field in &self.fields {
                let mut field = field.clone();
                field.path = join(&format!("cpu[{cpu}]"), &field.path);
                field.at += cpu * each;
                found.0.push(field);
            }
        }
        found.covering(each * count)
    }
}

/// `field` within `of`.
pub(super) fn join(of: &str, field: &str) -> String {
    match (of, field) {
        (of, "") => of.to_owned(),
        ("", field) => field.to_owned(),
        (of, field) if field.starts_with('[') => format!("{of}{field}"),
        (of, field) => format!("{of}.{field}"),
    }
}

#[derive(Default)]
struct Found(Vec<Field>);

impl Found {
    fn add(&mut self, path: String, at: usize, size: usize, sense: Sense) {
        if size > 0 && self.0.len() < MAX_FIELDS {
            self.0.push(Field {
                path,
                at,
                size,
                sense,
            });
        }
    }

    fn collect(&mut self, btf: &Btf, id: u32, path: String, at: usize, depth: usize) {
        let Some(ty) = btf.resolve(id).filter(|_| depth < MAX_DEPTH) else {
            return;
        };
        match ty.kind {
            Kind::Var => self.collect(btf, ty.target().unwrap_or(0), path, at, depth + 1),
            Kind::Struct => self.members(btf, &ty, &path, at, depth),
            // Its largest member covers the others.
            Kind::Union => {
                let size = |id| btf.size_of(id).unwrap_or(0);
                if let Some(member) = ty.members().max_by_key(|m| size(m.type_id)) {
                    let path = join(&path, member.name);
                    self.collect(btf, member.type_id, path, at, depth + 1);
                }
            }
            Kind::Array => self.elements(btf, &ty, &path, at, depth),
            _ => {
                let signed = ty.is_signed();
                let size = ty.size().unwrap_or(0) as usize;
                self.add(path, at, size, Sense::Number { signed });
            }
        }
    }

    fn members(&mut self, btf: &Btf, ty: &Type<'_>, path: &str, at: usize, depth: usize) {
        for member in ty
            .members()
            .filter(|member| !btf_value::is_padding(btf, member))
        {
            let place = at + member.bit_offset as usize / 8;
            let name = join(path, member.name);
            match member.bit_size {
                0 => self.collect(btf, member.type_id, name, place, depth + 1),
                bits => {
                    let bits = (member.bit_offset % 8 + bits) as usize;
                    let last = self.0.last().map_or(0, |last| last.at + last.size);
                    // Bit fields that share a byte are one field.
                    let from = place.max(last.min(place + bits.div_ceil(8)));
                    let size = (place + bits.div_ceil(8)).saturating_sub(from);
                    self.add(name, from, size, Sense::Bytes);
                }
            }
        }
    }

    fn elements(&mut self, btf: &Btf, ty: &Type<'_>, path: &str, at: usize, depth: usize) {
        let Some(array) = ty.array() else { return };
        let Some(element) = btf.resolve(array.element) else {
            return;
        };
        let size = btf.size_of(array.element).unwrap_or(0) as usize;
        let count = array.count as usize;
        if element.kind == Kind::Int && size == 1 {
            let sense = match element.name {
                "char" => Sense::Text,
                _ => Sense::Bytes,
            };
            return self.add(path.to_owned(), at, count, sense);
        }
        for i in 0..count.min(MAX_FIELDS) {
            let path = format!("{path}[{i}]");
            self.collect(btf, array.element, path, at + i * size, depth + 1);
        }
    }

    /// The fields in order, with what lies between them as bytes, up to `size`.
    fn covering(mut self, size: usize) -> Shape {
        self.0.sort_by_key(|field| field.at);
        let mut fields: Vec<Field> = Vec::new();
        let mut end = 0;
        let gap = |at: usize, end: usize| Field {
            path: match (at, end) {
                (0, end) if end == size => String::new(),
                _ => format!("{PADDING}{at}"),
            },
            at,
            size: end - at,
            sense: match size {
                1 | 2 | 4 | 8 if end - at == size => Sense::Number { signed: false },
                _ => Sense::Bytes,
            },
        };
        for field in self.0 {
            if field.at < end || field.at + field.size > size {
                continue;
            }
            if field.at > end {
                fields.push(gap(end, field.at));
            }
            end = field.at + field.size;
            fields.push(field);
        }
        if end < size {
            fields.push(gap(end, size));
        }
        Shape { fields }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf_builder::{Builder, UNION};

    fn paths(shape: &Shape) -> Vec<(&str, usize, usize)> {
        let fields = shape.fields.iter();
        fields.map(|f| (f.path.as_str(), f.at, f.size)).collect()
    }

    #[test]
    fn fields_cover_every_byte() {
        let mut b = Builder::default();
        let int = b.int("int", 4, true);
        let char = b.int("char", 1, true);
        let comm = b.array(char, 4);
        let slots = b.array(int, 2);
        let either = b.composite(UNION, "", 8, &[("small", int, 0), ("slots", slots, 0)]);
        let members = [("comm", comm, 0), ("", either, 64), ("last", char, 128)];
        let all = b.structure("all", 24, &members);
        let btf = b.build();
        let shape = Shape::of(Some(&btf), all, 24);
        assert_eq!(
            paths(&shape),
            [
                ("comm", 0, 4),
                ("padding at 4", 4, 4),
                ("slots[0]", 8, 4),
                ("slots[1]", 12, 4),
                ("last", 16, 1),
                ("padding at 17", 17, 7),
            ]
        );
        assert_eq!(shape.fields[0].sense, Sense::Text);
        let per_cpu = Shape::of(Some(&btf), int, 4).per_cpu(4, 2);
        assert_eq!(
            paths(&per_cpu),
            [
                ("cpu[0]", 0, 4),
                ("padding at 4", 4, 4),
                ("cpu[1]", 8, 4),
                ("padding at 12", 12, 4),
            ]
        );
    }

    #[test]
    fn values_without_a_type_are_numbers_or_bytes() {
        let number = Shape::of(None, 0, 8);
        assert_eq!(paths(&number), [("", 0, 8)]);
        assert_eq!(number.fields[0].sense, Sense::Number { signed: false });
        assert_eq!(Shape::of(None, 0, 12).fields[0].sense, Sense::Bytes);
        assert_eq!(join("a", "[0]"), "a[0]");
        assert_eq!(join("a", "b"), "a.b");
    }
}

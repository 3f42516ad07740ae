//! Values by their BTF types as people read them: a list of named fields in the order of the type.
//!
//! What [`crate::btf_value`] gives is exact, for comparing; this is for reading: text ends at its first NUL, addresses of the network are
//! addresses, ports are in the host's order, arrays of slots are histograms, frames of stacks are known as such.

mod address;

use std::net::IpAddr;

use abi::manifest::Map;
use bpf2wasm::btf::{Btf, Kind, Member, Type};
use serde_json::{Map as Object, Value, json};

use crate::btf_value;
use crate::meaning::Meaning;
use crate::variables;
use address::Family;

/// How deep values may nest, and how many fields one may have.
const MAX_DEPTH: usize = 32;
const MAX_FIELDS: usize = 512;
/// Slots that an array has at least, to be a histogram.
const MIN_SLOTS: u32 = 8;

/// A value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// In the order of the type.
    pub fields: Vec<Field>,
}

/// A part of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// How C would name it from the value on; empty if it is the whole value.
    pub name: String,
    /// What it holds.
    pub cell: Cell,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A number, text, an enumerator, a list.
    Plain(Value),
    /// An address of the network.
    Address(IpAddr),
    /// Counts by slot.
    Slots(Vec<u64>),
    /// Addresses of a stack's frames.
    Stack(Vec<u64>),
    /// A number of a stack, whose frames are in a map.
    StackId(i64),
    /// A number that stands for something.
    Named(Meaning, i64),
}

impl Cell {
    /// In JSON's terms.
    pub fn to_json(&self) -> Value {
        match self {
            Cell::Plain(value) => value.clone(),
            Cell::Address(ip) => json!(ip.to_string()),
            Cell::Slots(slots) => json!(slots),
            Cell::Stack(frames) => frames.iter().map(|f| json!(format!("{f:#x}"))).collect(),
            Cell::StackId(id) | Cell::Named(_, id) => json!(id),
        }
    }
}

impl Record {
    /// The value of type `id` at the start of `bytes`; without a type, its bytes.
    pub fn read(btf: Option<&Btf>, id: u32, bytes: &[u8]) -> Self {
        let mut record = Record::default();
        match btf.filter(|_| id != 0) {
            Some(btf) => record.walk(btf, id, "", bytes, 0),
            None => record.add("", Cell::Plain(hex(bytes))),
        }
        record.settle();
        record
    }

    /// The variables of a data section.
    pub fn read_section(btf: Option<&Btf>, section: &Map, bytes: &[u8]) -> Self {
        let mut record = Record::default();
        for symbol in section.data.iter().flat_map(|data| &data.symbols) {
            let name = variables::within(section, symbol);
            let from = symbol.offset as usize;
            let bytes = bytes.get(from..from + symbol.size as usize);
            let bytes = bytes.unwrap_or_default();
            match btf.filter(|_| symbol.type_id != 0) {
                Some(btf) => record.walk(btf, symbol.type_id, &name, bytes, 0),
                None => record.add(&name, Cell::Plain(hex(bytes))),
            }
        }
        record.settle();
        record
    }

    /// Adds bytes that no type is known of, as text where they are some.
    pub(crate) fn add_rest(&mut self, rest: &[u8]) {
        let end = rest
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        let rest = &rest[..end];
        let is_text = rest.iter().all(|byte| matches!(byte, 0 | b' '..=b'~'));
        match (rest, is_text) {
            ([], _) => {}
            (rest, true) => self.add("rest", Cell::Plain(json!(words(&text(rest), Some(end))))),
            (rest, false) => self.add("rest", Cell::Plain(hex(rest))),
        }
    }

    /// What field `name` holds.
    pub fn cell(&self, name: &str) -> Option<&Cell> {
        let found = self.fields.iter().find(|field| field.name == name);
        found.map(|field| &field.cell)
    }

    /// The number in field `name`.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.cell(name)? {
            Cell::Plain(value) => value.as_i64(),
            Cell::StackId(id) | Cell::Named(_, id) => Some(*id),
            _ => None,
        }
    }

    /// Has the number in field `name` stand for something.
    pub(crate) fn mean(&mut self, name: &str, meaning: Meaning) {
        let mut fields = self.fields.iter_mut();
        let field = fields.find(|field| field.name == name);
        if let Some(Field { cell, .. }) = field
            && let Cell::Plain(value) = cell
            && let Some(number) = value.as_i64()
        {
            *cell = Cell::Named(meaning, number);
        }
    }

    /// The text in field `name`; an address as text.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.cell(name)?.to_json() {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// `{field: value}`, or the value itself if it has no fields.
    pub fn to_json(&self) -> Value {
        match &self.fields[..] {
            [one] if one.name.is_empty() => one.cell.to_json(),
            fields => {
                let fields = fields.iter().map(|f| (f.name.clone(), f.cell.to_json()));
                Value::Object(fields.collect::<Object<_, _>>())
            }
        }
    }

    fn add(&mut self, name: &str, cell: Cell) {
        if self.fields.len() < MAX_FIELDS {
            let name = name.to_owned();
            self.fields.push(Field { name, cell });
        }
    }

    fn walk(&mut self, btf: &Btf, id: u32, name: &str, bytes: &[u8], depth: usize) {
        let Some(ty) = btf.resolve(id).filter(|_| depth < MAX_DEPTH) else {
            return self.add(name, Cell::Plain(hex(bytes)));
        };
        let size = btf.size_of(id).unwrap_or(0) as usize;
        let own = &bytes[..bytes.len().min(size)];
        if let Some(address) = address::of(btf, id, name, own) {
            return self.add(name, Cell::Address(IpAddr::from(address)));
        }
        match ty.kind {
            Kind::Var => self.walk(btf, ty.target().unwrap_or(0), name, own, depth + 1),
            Kind::Datasec => {
                for var in ty.vars() {
                    let variable = btf.get(var.type_id).map_or("", |ty| ty.name);
                    let bytes = own.get(var.offset as usize..).unwrap_or_default();
                    self.walk(btf, var.type_id, variable, bytes, depth + 1);
                }
            }
            Kind::Struct => self.members(btf, &ty, name, own, depth),
            Kind::Union => self.union(btf, &ty, name, own, depth),
            Kind::Array => self.array(btf, &ty, name, own, depth),
            _ => self.add(name, scalar(btf, id, name, own)),
        }
    }

    fn members(&mut self, btf: &Btf, ty: &Type<'_>, name: &str, bytes: &[u8], depth: usize) {
        let is_hidden = |m: &Member<'_>| btf_value::is_padding(btf, m) || is_filler(m.name);
        for member in ty.members().filter(|member| !is_hidden(member)) {
            let path = join(name, member.name);
            let at = bytes.get(member.bit_offset as usize / 8..);
            match member.bit_size {
                0 => self.walk(
                    btf,
                    member.type_id,
                    &path,
                    at.unwrap_or_default(),
                    depth + 1,
                ),
                _ => self.add(&path, Cell::Plain(btf_value::bitfield(btf, &member, bytes))),
            }
        }
    }

    /// An IPv4 address and an IPv6 one in one place are one address; of other unions, the largest member is shown.
    fn union(&mut self, btf: &Btf, ty: &Type<'_>, name: &str, bytes: &[u8], depth: usize) {
        let size = |member: &Member<'_>| btf.size_of(member.type_id).unwrap_or(0);
        let is = |suffix: &'static str, bytes| {
            move |m: &Member<'_>| m.name.ends_with(suffix) && size(m) == bytes
        };
        let v4 = ty.members().find(is("_v4", 4));
        if let (Some(v4), true) = (v4, ty.members().any(|m| is("_v6", 16)(&m))) {
            let name = join(name, v4.name.trim_end_matches("_v4"));
            let bytes: [u8; 16] = bytes.try_into().unwrap_or_default();
            return self.add(&name, Cell::Address(IpAddr::from(bytes)));
        }
        if let Some(member) = ty.members().max_by_key(size) {
            let name = join(name, member.name);
            self.walk(btf, member.type_id, &name, bytes, depth + 1);
        }
    }

    fn array(&mut self, btf: &Btf, ty: &Type<'_>, name: &str, bytes: &[u8], depth: usize) {
        let Some(array) = ty.array() else {
            return self.add(name, Cell::Plain(hex(bytes)));
        };
        let element = btf.resolve(array.element);
        let size = btf.size_of(array.element).unwrap_or(0) as usize;
        let kind = element.map(|ty| ty.kind);
        let is_char = element.is_some_and(|ty| ty.kind == Kind::Int && ty.name == "char");
        let leaf = name.rsplit('.').next().unwrap_or(name);
        if is_char {
            return self.add(name, Cell::Plain(json!(text(bytes))));
        }
        let numbers = || bytes.chunks_exact(size.max(1)).map(number);
        match kind {
            Some(Kind::Int) if size >= 4 && array.count >= MIN_SLOTS && is_slots(leaf) => {
                self.add(name, Cell::Slots(numbers().collect()));
            }
            Some(Kind::Int | Kind::Ptr) if size == 8 && is_stack(leaf) => {
                let frames = numbers().take_while(|frame| *frame != 0);
                self.add(name, Cell::Stack(frames.collect()));
            }
            Some(Kind::Struct | Kind::Union | Kind::Array) => {
                for (i, bytes) in bytes.chunks(size.max(1)).enumerate() {
                    self.walk(
                        btf,
                        array.element,
                        &format!("{name}[{i}]"),
                        bytes,
                        depth + 1,
                    );
                }
            }
            _ => {
                let value = btf_value::decode(btf, ty.id, bytes);
                self.add(name, Cell::Plain(value));
            }
        }
    }

    /// What depends on other fields: of which family an address is, and where text ends that has NULs in it.
    fn settle(&mut self) {
        let family = Family::of(self);
        for field in &mut self.fields {
            if let Cell::Address(IpAddr::V6(bytes)) = &field.cell {
                field.cell = Cell::Address(address::read(*bytes, family));
            }
        }
        for i in 0..self.fields.len() {
            let size = format!("{}_size", self.fields[i].name);
            let size = self
                .number(&size)
                .and_then(|size| usize::try_from(size).ok());
            if let Cell::Plain(Value::String(text)) = &mut self.fields[i].cell {
                *text = words(text, size);
            }
        }
    }
}

/// A scalar of type `id`.
fn scalar(btf: &Btf, id: u32, name: &str, bytes: &[u8]) -> Cell {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    if bytes.len() == 4 && leaf.contains("stack") && leaf.ends_with("_id") {
        return Cell::StackId(i64::from(number(bytes) as u32 as i32));
    }
    if bytes.len() == 16 {
        return Cell::Plain(json!(format!(
            "{:#x}",
            u128::from_le_bytes(bytes.try_into().unwrap_or_default())
        )));
    }
    let meaning = Meaning::of(btf, id);
    let value = match address::is_big_endian(btf, id) {
        true => {
            let swapped: Vec<u8> = bytes.iter().rev().copied().collect();
            btf_value::decode(btf, id, &swapped)
        }
        false => btf_value::decode(btf, id, bytes),
    };
    match meaning.zip(value.as_i64()) {
        Some((meaning, number)) => Cell::Named(meaning, number),
        None => Cell::Plain(value),
    }
}

/// Whether a member is called padding: `pad`, `__pad2`, `_padding`. Of no other that is not filled can that be told.
fn is_filler(name: &str) -> bool {
    let name = name.trim_matches(|c: char| c == '_' || c.is_ascii_digit());
    matches!(name, "pad" | "padding")
}

/// Names that arrays of slots have.
fn is_slots(name: &str) -> bool {
    let name = name.split('[').next().unwrap_or(name);
    name == "slots" || name.ends_with("hist")
}

fn is_stack(name: &str) -> bool {
    name.contains("stack") || name == "callers"
}

fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let size = bytes.len().min(8);
    word[..size].copy_from_slice(&bytes[..size]);
    u64::from_le_bytes(word)
}

/// The whole of a text, NULs in it: [`words`] ends it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Text up to its first NUL; of `size` bytes, with a space for each NUL.
fn words(text: &str, size: Option<usize>) -> String {
    let end = match size {
        Some(size) => text.char_indices().map(|(at, _)| at).find(|at| *at >= size),
        None => text.find('\0'),
    };
    let text = text[..end.unwrap_or(text.len())].trim_end_matches('\0');
    let show = |c: char| match c {
        '\0' => ' ',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(show).collect()
}

fn hex(bytes: &[u8]) -> Value {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    json!(hex)
}

/// `member` within `of`.
fn join(of: &str, member: &str) -> String {
    match (of, member) {
        (of, "") => of.to_owned(),
        ("", member) => member.to_owned(),
        (of, member) => format!("{of}.{member}"),
    }
}

#[cfg(test)]
mod tests;

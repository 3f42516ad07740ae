//! What an object's events are, where nobody says so: recovered from what programs write to the buffers that they send.
//!
//! A field is a store, or what a helper writes. Its name is in the source line, if the object has lines, or known where its value
//! comes from a helper that gives one thing only; else it is its place. Where two events through one map differ in size, or a size
//! is not constant, nothing is recovered.

mod flow;
mod text;

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::cfg::Blocks;
use crate::error::Result;
use crate::object::{Function, Object};
use flow::{Content, Write};

/// Bytes of an event that are looked at.
const MOST: i64 = 64 * 1024;

/// A part of an event.
#[derive(Clone, Debug)]
struct Field {
    at: i64,
    size: i64,
    content: Content,
    /// What the source calls it.
    name: Option<String>,
}

impl Field {
    fn new(object: &Object<'_>, function: &Function, write: &Write) -> Self {
        let line = function.lines.iter().rfind(|line| line.slot <= write.slot);
        let text = line.map_or("", |line| object.string(line.text));
        Field {
            at: write.at,
            size: write.size,
            content: write.content,
            name: text::member(text).map(str::to_owned),
        }
    }

    fn end(&self) -> i64 {
        self.at + self.size
    }

    /// Whether it says more than a word of a copy.
    fn is_plain(&self) -> bool {
        self.name.is_none() && matches!(self.content, Content::Number(None) | Content::Bytes)
    }
}

/// Events of one map: their size, if all have one, and what they are made of.
#[derive(Default)]
struct Events {
    sizes: Vec<Option<i64>>,
    fields: Vec<Field>,
}

/// Events that maps send, in C's notation: a `struct` a map, named as the map.
pub(crate) fn recover(object: &Object<'_>) -> Result<String> {
    let mut by_map: BTreeMap<usize, Events> = BTreeMap::new();
    for function in &object.functions {
        if function.broken.is_some() {
            continue;
        }
        let blocks = Blocks::new(&function.insns).map_err(|e| e.in_program(&function.name))?;
        for sent in flow::sent(function, &blocks) {
            let events = by_map.entry(sent.map).or_default();
            events.sizes.push(sent.size);
            let fields = sent.writes.iter();
            let fields = fields.filter(|write| write.content != Content::Zero);
            let fields = fields.map(|write| Field::new(object, function, write));
            events.fields.extend(fields);
        }
    }
    let mut text = String::new();
    for (map, events) in by_map {
        if let Some(Some(size @ 1..=MOST)) = events.sizes.first().copied()
            && events.sizes.iter().all(|other| *other == Some(size))
        {
            text += &structure(&object.maps[map].name, size, events.fields);
        }
    }
    Ok(text)
}

/// The `struct` of `size` bytes that is made of `fields`, of which the ones that say most stay where some overlap.
fn structure(name: &str, size: i64, mut fields: Vec<Field>) -> String {
    fields.retain(|field| field.at >= 0 && field.end() <= size);
    fields.sort_by_key(|field| (field.is_plain(), field.size, field.at));
    let mut kept: Vec<Field> = Vec::new();
    for field in fields {
        if kept
            .iter()
            .all(|k| field.at >= k.end() || field.end() <= k.at)
        {
            kept.push(field);
        }
    }
    kept.sort_by_key(|field| field.at);
    let mut text = format!("struct {name} {{\n");
    let mut at = 0;
    let mut names: Vec<String> = Vec::new();
    let mut rest = &kept[..];
    while let Some(field) = rest.first() {
        let count = elements(rest);
        text += &gap(at, field.at);
        text += &member(field, count, &mut names);
        at = rest[count - 1].end();
        rest = &rest[count..];
    }
    text += &gap(at, size);
    text + "};\n"
}

/// How many fields at the start of `fields` are elements of one array: numbers of one name, side by side.
fn elements(fields: &[Field]) -> usize {
    let first = &fields[0];
    let is_next = |(i, field): &(usize, &Field)| {
        field.name == first.name
            && field.size == first.size
            && field.at == first.at + *i as i64 * first.size
            && matches!(field.content, Content::Number(_))
    };
    match first.name {
        Some(_) => fields.iter().enumerate().take_while(is_next).count().max(1),
        None => 1,
    }
}

/// Bytes that nobody writes, or only zeros.
fn gap(from: i64, to: i64) -> String {
    match to - from {
        0 => String::new(),
        size => format!("    __u8 unknown_{from}[{size}];\n"),
    }
}

fn member(field: &Field, count: usize, names: &mut Vec<String>) -> String {
    let (at, size) = (field.at, field.size);
    let (kind, known) = match field.content {
        Content::Number(name) => ("number", name),
        Content::Text(name) => ("text", name),
        Content::Zero | Content::Bytes => ("bytes", None),
    };
    let name = field.name.as_deref().or(known);
    let name = match name.filter(|name| names.iter().all(|other| other != name)) {
        Some(name) => name.to_owned(),
        None => format!("{kind}_{at}"),
    };
    let line = match (kind, size) {
        // A type that is aligned as the field is not would be moved.
        ("number", 1 | 2 | 4 | 8) if at % size == 0 => {
            let array = if count > 1 {
                format!("[{count}]")
            } else {
                String::new()
            };
            // Errors are negative.
            let is_result = name.starts_with("ret") || name.starts_with("err");
            let sign = if is_result && size >= 4 { "s" } else { "u" };
            format!("    __{sign}{} {name}{array};\n", 8 * size)
        }
        ("text", _) => format!("    char {name}[{size}];\n"),
        _ => format!("    __u8 {name}[{}];\n", size * count as i64),
    };
    names.push(name);
    line
}

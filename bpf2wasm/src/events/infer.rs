//! Makes a type of what is stored, where nobody says what events are.
//!
//! A field is a store, or what a helper writes. Its name is the member that its line fills, or is known where its value comes from a
//! helper that gives one thing only; else it is its place.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::manifest::{Content, Sent, Stored};

/// Whether it says more than a word of a copy.
fn is_plain(stored: &Stored) -> bool {
    stored.member.is_empty()
        && stored.value.is_empty()
        && matches!(stored.content, Content::Number | Content::Bytes)
}

fn end(stored: &Stored) -> u32 {
    stored.at + stored.size
}

/// The type of what `sent` is of, in C's notation: a `struct` named as the map. Of events whose size depends, the part that is stored at
/// constant places. Nothing where nothing is known.
pub fn infer(sent: &Sent) -> Option<String> {
    let fields = sent.stores.iter().filter(|s| s.content != Content::Zero);
    let size = sent.size.or_else(|| fields.clone().map(end).max())?;
    Some(structure(&sent.map, size, fields.cloned().collect()))
}

/// The `struct` of `size` bytes that is made of `fields`, of which the ones that say most stay where some overlap.
fn structure(name: &str, size: u32, mut fields: Vec<Stored>) -> String {
    fields.sort_by_key(|field| (is_plain(field), field.size, field.at));
    let mut kept: Vec<Stored> = Vec::new();
    for field in fields {
        if kept
            .iter()
            .all(|k| field.at >= end(k) || end(&field) <= k.at)
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
        at = end(&rest[count - 1]);
        rest = &rest[count..];
    }
    text += &gap(at, size);
    text + "};\n"
}

/// How many fields at the start of `fields` are one: elements of an array, or words of a text that was copied, of one name side by side.
fn elements(fields: &[Stored]) -> usize {
    let first = &fields[0];
    let is_next = |(i, field): &(usize, &Stored)| {
        name(field) == name(first)
            && field.size == first.size
            && field.at == first.at + *i as u32 * first.size
            && field.content == first.content
    };
    match first.content {
        Content::Number | Content::Text if name(first).is_some() => {
            fields.iter().enumerate().take_while(is_next).count().max(1)
        }
        _ => 1,
    }
}

/// What it is called: as its line says, or as its value is.
fn name(field: &Stored) -> Option<&String> {
    let known = [&field.member, &field.value];
    known.into_iter().find(|name| !name.is_empty())
}

/// Bytes that nobody writes, or only zeros: they have no name.
fn gap(from: u32, to: u32) -> String {
    match to - from {
        0 => String::new(),
        size => format!("    __u8 [{size}];\n"),
    }
}

fn member(field: &Stored, count: usize, names: &mut Vec<String>) -> String {
    let (at, size) = (field.at, field.size);
    let kind = match field.content {
        Content::Number => "number",
        Content::Text => "text",
        Content::Zero | Content::Bytes => "bytes",
    };
    let name = match name(field).filter(|name| names.iter().all(|other| other != *name)) {
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
        ("text", _) => format!("    char {name}[{}];\n", size * count as u32),
        _ => format!("    __u8 {name}[{}];\n", size * count as u32),
    };
    names.push(name);
    line
}

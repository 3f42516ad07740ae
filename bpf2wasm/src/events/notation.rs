//! Writes a type in the notation of layouts: C, in which members lie as x86-64 and arm64 have it. What lies otherwise there, as in a packed
//! struct, is written as bytes.

use alloc::format;
use alloc::string::String;

use super::debug::{Composite, Type};

/// A `struct` called `name`.
pub(super) fn write(name: &str, composite: &Composite) -> String {
    let (mut body, align) = body(composite, 1);
    if !composite.size.is_multiple_of(align) {
        body = format!("    __u8 bytes[{}];\n", composite.size);
    }
    format!("struct {name} {{\n{body}}};\n")
}

/// The members of a struct or union, and how it is aligned.
fn body(composite: &Composite, depth: usize) -> (String, u32) {
    let indent = "    ".repeat(depth);
    let (mut text, mut end, mut align) = (String::new(), 0, 1);
    for (name, at, ty) in &composite.members {
        let is_behind = composite.is_union || *at >= end;
        // Bit fields share bytes; an array at the end may have none.
        if !is_behind || ty.size() == 0 {
            continue;
        }
        let (mut line, mut own) = declare(name, ty, depth);
        if !at.is_multiple_of(own) {
            (line, own) = (format!("__u8 {name}[{}];\n", ty.size()), 1);
        }
        if !composite.is_union && end.next_multiple_of(own) < *at {
            text += &format!("{indent}__u8 [{}];\n", at - end);
        }
        text += &indent;
        text += &line;
        end = end.max(at + ty.size());
        align = align.max(own);
    }
    let natural = end.next_multiple_of(align);
    if natural < composite.size && !composite.is_union {
        text += &format!("{indent}__u8 [{}];\n", composite.size - end);
    }
    (text, align)
}

/// A member, and how it is aligned.
fn declare(name: &str, ty: &Type, depth: usize) -> (String, u32) {
    let (mut of, mut counts) = (ty, String::new());
    while let Type::Array(element, count) = of {
        counts += &format!("[{count}]");
        of = element;
    }
    match of {
        Type::Scalar(word, size) => (format!("{word} {name}{counts};\n"), *size),
        Type::Composite(inner) => {
            let (body, align) = body(inner, depth + 1);
            if !inner.size.is_multiple_of(align) {
                return (format!("__u8 {name}[{}];\n", ty.size()), 1);
            }
            let (word, indent) = (
                if inner.is_union { "union" } else { "struct" },
                "    ".repeat(depth),
            );
            let name = if name.is_empty() {
                String::new()
            } else {
                format!(" {name}")
            };
            (
                format!("{word} {{\n{body}{indent}}}{name}{counts};\n"),
                align,
            )
        }
        Type::Opaque(_) | Type::Array(..) => (format!("__u8 {name}[{}];\n", ty.size()), 1),
    }
}

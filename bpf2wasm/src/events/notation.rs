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

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::boxed::Box;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    fn composite(size: u32, members: &[(&str, u32, Type)]) -> Composite {
        let own = |(name, at, ty): &(&str, u32, Type)| ((*name).to_owned(), *at, ty.clone());
        Composite {
            is_union: false,
            size,
            members: members.iter().map(own).collect::<Vec<_>>(),
        }
    }

    const INT: Type = Type::Scalar("__u32", 4);
    const LONG: Type = Type::Scalar("__u64", 8);

    #[test]
    fn members_lie_where_the_type_has_them() {
        let addresses = Composite {
            is_union: true,
            ..composite(
                16,
                &[
                    ("v4", 0, INT),
                    ("v6", 0, Type::Array(Box::new(Type::Scalar("__u8", 1)), 16)),
                ],
            )
        };
        let inner = composite(16, &[("a", 0, LONG), ("b", 8, INT)]);
        let all = composite(
            80,
            &[
                ("pid", 0, INT),
                ("ts", 8, LONG),
                ("", 16, Type::Composite(addresses)),
                ("in", 32, Type::Array(Box::new(Type::Composite(inner)), 2)),
                ("far", 72, INT),
            ],
        );
        let expected = "struct events {\n    __u32 pid;\n    __u64 ts;\n    union {\n        __u32 v4;\n        __u8 v6[16];\n    };\n    \
                        struct {\n        __u64 a;\n        __u32 b;\n    } in[2];\n    __u8 [8];\n    __u32 far;\n};\n";
        assert_eq!(write("events", &all), expected);
    }

    #[test]
    fn what_is_packed_is_bytes() {
        let packed = composite(9, &[("kind", 0, Type::Scalar("__u8", 1)), ("ts", 1, LONG)]);
        let expected = "struct events {\n    __u8 kind;\n    __u8 ts[8];\n};\n";
        assert_eq!(write("events", &packed), expected);
        let short = composite(9, &[("ts", 0, LONG), ("kind", 8, Type::Scalar("__u8", 1))]);
        assert_eq!(
            write("events", &short),
            "struct events {\n    __u8 bytes[9];\n};\n"
        );
        let bits = vec![
            ("low", 0, Type::Opaque(1)),
            ("high", 0, Type::Opaque(1)),
            ("pid", 4, INT),
        ];
        let expected = "struct events {\n    __u8 low[1];\n    __u32 pid;\n};\n";
        assert_eq!(write("events", &composite(8, &bits)), expected);
    }
}

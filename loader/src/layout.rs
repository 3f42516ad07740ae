//! Types of events in C's notation, for objects whose BTF does not have them: one `struct` a map, named as the map.
//!
//! The notation is a small part of C: `struct` and `union`, arrays, and the scalar types in [`SCALARS`]. A member without a name is padding. Members are aligned as on
//! x86-64 and arm64. Layouts of Debian's libbpf-tools are in `loader/layouts`.

use std::fmt;

use bpf2wasm::btf::{Btf, Kind};

use crate::btf_builder::{Builder, UNION};

/// Names of scalar types, their sizes, and whether they are signed.
const SCALARS: &[(&str, u32, bool)] = &[
    ("char", 1, true),
    ("bool", 1, false),
    ("__u8", 1, false),
    ("__u16", 2, false),
    ("__u32", 4, false),
    ("__u64", 8, false),
    ("__s8", 1, true),
    ("__s16", 2, true),
    ("__s32", 4, true),
    ("__s64", 8, true),
    ("int", 4, true),
    ("__be16", 2, false),
    ("__be32", 4, false),
    ("pid_t", 4, true),
    ("uid_t", 4, false),
    // What their numbers mean, `crate::meaning` knows.
    ("errno_t", 4, true),
    ("open_flags_t", 4, true),
    ("signal_t", 4, true),
    ("tcp_state_t", 4, true),
    ("family_t", 4, false),
    ("sa_family_t", 2, false),
    ("dev_t", 4, false),
];

macro_rules! shipped {
    ($($tool:literal)*) => {
        /// Tools whose objects do not say what they send, and their layouts.
        const SHIPPED: &[(&str, &str)] = &[
            $(($tool, include_str!(concat!("../layouts/", $tool, ".h"))),)*
        ];
    };
}

shipped! {
    "bashreadline"
    "bindsnoop"
    "biosnoop"
    "drsnoop"
    "exitsnoop"
    "filelife"
    "fsslower"
    "gethostlatency"
    "javagc"
    "mdflush"
    "mountsnoop"
    "oomkill"
    "opensnoop"
    "runqslower"
    "sigsnoop"
    "solisten"
    "statsnoop"
    "tcpconnect"
    "tcpconnlat"
    "tcplife"
    "tcpstates"
    "tcptracer"
}

/// Types of events.
#[derive(Clone, Debug)]
pub struct Layout {
    btf: Btf,
}

/// Text that is no layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    line: usize,
    why: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layout, line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for Error {}

impl Layout {
    /// Reads `text`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut parser = Parser {
            tokens: tokens(text),
            at: 0,
            builder: Builder::default(),
        };
        while parser.peek().is_some() {
            parser.expect("struct")?;
            let name = parser.word()?;
            parser.body(&name, false, 0)?;
            parser.expect(";")?;
        }
        Ok(Layout {
            btf: parser.builder.build(),
        })
    }

    /// The layout of what `tool` sends, if one is shipped: of the version that Debian 12 has. Whether an object is of that one,
    /// [`crate::event_types`] finds out.
    pub fn shipped(tool: &str) -> Option<Self> {
        let (_, text) = SHIPPED.iter().find(|(name, _)| *name == tool)?;
        Some(Layout::parse(text).expect("a test reads every one"))
    }

    /// The types.
    pub fn btf(&self) -> &Btf {
        &self.btf
    }

    /// The type of what map `name` sends, and its size.
    pub fn event(&self, name: &str) -> Option<(u32, usize)> {
        let id = self.btf.find(name, Kind::Struct)?.id;
        Some((id, self.btf.size_of(id)? as usize))
    }
}

/// A word or a sign, and its line.
type Token = (usize, String);

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            if is_word(c) {
                word.push(c);
                continue;
            }
            if !word.is_empty() {
                tokens.push((i + 1, std::mem::take(&mut word)));
            }
            if !c.is_whitespace() {
                tokens.push((i + 1, c.to_string()));
            }
        }
    }
    tokens
}

/// How deep types may nest, and how many bytes an event may have.
const MAX_DEPTH: usize = 8;
const MAX_SIZE: u32 = 1 << 16;

/// A type that was read.
#[derive(Clone, Copy)]
struct Ty {
    id: u32,
    size: u32,
    align: u32,
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    builder: Builder,
}

impl Parser {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(|(_, word)| word.as_str())
    }

    fn take(&mut self, word: &str) -> bool {
        let is_it = self.peek() == Some(word);
        self.at += usize::from(is_it);
        is_it
    }

    fn wrong(&self, why: impl Into<String>) -> Error {
        let token = self.tokens.get(self.at).or(self.tokens.last());
        Error {
            line: token.map_or(1, |(line, _)| *line),
            why: why.into(),
        }
    }

    fn expect(&mut self, word: &str) -> Result<(), Error> {
        if self.take(word) {
            return Ok(());
        }
        let found = self.peek().unwrap_or("the end");
        Err(self.wrong(format!("{found}, where {word} is expected")))
    }

    fn word(&mut self) -> Result<String, Error> {
        let word = self.peek().filter(|word| word.starts_with(is_word));
        let word = word.map(str::to_owned);
        self.at += 1;
        word.ok_or_else(|| self.wrong("a name is expected"))
    }

    fn number(&mut self) -> Result<u32, Error> {
        let word = self.word()?;
        word.parse()
            .map_err(|_| self.wrong(format!("{word}: not a number")))
    }

    /// `{ members }` of a struct or union.
    fn body(&mut self, name: &str, is_union: bool, depth: usize) -> Result<Ty, Error> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("nested too deep"));
        }
        self.expect("{")?;
        let (mut members, mut end, mut align) = (Vec::new(), 0u32, 1);
        while !self.take("}") {
            let ty = self.ty(depth + 1)?;
            let name = match self.peek() {
                // Of a struct, its members; of anything else, bytes that mean nothing.
                Some(";" | "[") => String::new(),
                _ => self.word()?,
            };
            let ty = self.array(ty)?;
            self.expect(";")?;
            let at = if is_union {
                0
            } else {
                end.next_multiple_of(ty.align)
            };
            members.push((name, ty.id, at * 8));
            (end, align) = (end.max(at + ty.size), align.max(ty.align));
            if end > MAX_SIZE {
                return Err(self.wrong("too long for an event"));
            }
        }
        let size = end.next_multiple_of(align);
        let members = members
            .iter()
            .map(|(name, id, at)| (name.as_str(), *id, *at));
        let members: Vec<_> = members.collect();
        let id = match is_union {
            true => self.builder.composite(UNION, name, size, &members),
            false => self.builder.structure(name, size, &members),
        };
        Ok(Ty { id, size, align })
    }

    fn ty(&mut self, depth: usize) -> Result<Ty, Error> {
        let name = self.word()?;
        if name == "struct" || name == "union" {
            return self.body("", name == "union", depth);
        }
        let scalar = SCALARS.iter().find(|row| row.0 == name);
        let (name, size, signed) =
            *scalar.ok_or_else(|| self.wrong(format!("{name}: no type that is known here")))?;
        let id = self.builder.int(name, size, signed);
        Ok(Ty {
            id,
            size,
            align: size,
        })
    }

    /// `[2][3]` behind a name of type `of`.
    fn array(&mut self, of: Ty) -> Result<Ty, Error> {
        if !self.take("[") {
            return Ok(of);
        }
        let count = self.number()?;
        self.expect("]")?;
        let of = self.array(of)?;
        let size = of.size.checked_mul(count).filter(|size| *size <= MAX_SIZE);
        Ok(Ty {
            id: self.builder.array(of.id, count),
            size: size.ok_or_else(|| self.wrong("too long for an event"))?,
            ..of
        })
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::btf_value;
    use crate::event_types::{self, Source, Word};
    use crate::open::Input;
    use crate::profile::Profile;

    #[test]
    fn members_lie_where_c_puts_them() {
        let text = "struct events { // what it sends\n __u8 kind; __u8 [7]; __u64 ts; char comm[4];\n\
                    union { __be32 v4; __u8 v6[16]; }; struct { int a; } in[2]; };\nstruct more { int x; };";
        let layout = Layout::parse(text).unwrap();
        assert_eq!(layout.event("events").unwrap().1, 48);
        assert_eq!(layout.event("more").unwrap().1, 4);
        assert_eq!(layout.event("less"), None);
        let mut bytes = vec![
            7, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, b'a', b'b', 0, 0,
        ];
        bytes.extend([1, 0, 0, 0].iter().chain(&[0; 12]));
        bytes.extend([255, 255, 255, 255, 2, 0, 0, 0, 0, 0, 0, 0]);
        let value = btf_value::decode(layout.btf(), layout.event("events").unwrap().0, &bytes);
        assert_eq!(value["kind"], 7);
        assert_eq!(value["ts"], 9);
        assert_eq!(value["comm"], "ab");
        assert_eq!(value["v4"], 1);
        assert_eq!(value["in"][0]["a"], -1);
    }

    #[test]
    fn every_layout_that_is_shipped_is_read() {
        for (tool, text) in SHIPPED {
            let layout = Layout::parse(text).unwrap_or_else(|e| panic!("{tool}: {e}"));
            assert!(!layout.btf().is_empty(), "{tool}");
        }
    }

    /// The layouts were written from the tools' source, and what is recovered from their code proves that they are of these tools.
    #[test]
    fn what_is_shipped_fits_its_tool() {
        for (tool, text) in SHIPPED {
            let path = format!("/usr/sbin/{tool}");
            let input = Input::open(Path::new(&path), None).unwrap();
            let streams =
                event_types::streams(&input, &Profile::default(), Word::default()).unwrap();
            let shipped = Layout::parse(text).unwrap();
            let sent = streams.iter().filter(|s| shipped.event(&s.map).is_some());
            for stream in sent {
                assert_eq!(stream.source, Source::Shipped, "{tool}: {:?}", stream.notes);
            }
        }
    }

    #[test]
    fn what_is_no_layout_is_refused_with_its_line() {
        for (text, why) in [
            (
                "struct a {\n long x; };",
                "layout, line 2: long: no type that is known here",
            ),
            (
                "struct a { int x }",
                "layout, line 1: }, where ; is expected",
            ),
            ("struct a {\nint", "layout, line 2: a name is expected"),
            ("int a;", "layout, line 1: int, where struct is expected"),
            ("struct a { int x[y]; };", "layout, line 1: y: not a number"),
            (
                "struct a { int x[99999]; };",
                "layout, line 1: too long for an event",
            ),
        ] {
            assert_eq!(Layout::parse(text).unwrap_err().to_string(), why, "{text}");
        }
        let deep = format!("struct a {{ {}", "struct { ".repeat(20));
        assert!(Layout::parse(&deep).unwrap_err().why.contains("too deep"));
    }
}

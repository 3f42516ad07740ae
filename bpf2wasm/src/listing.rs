//! An object's code for people: instructions, what they refer to, and where they come from.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::isa::disasm::disassemble;
use crate::isa::insn::{Insn, Ref};
use crate::object::{Function, Object};

/// A function's code.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// Its name.
    pub function: String,
    /// Its section as written.
    pub section: String,
    /// Why it cannot be translated, if it cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its instructions.
    pub lines: Vec<ListingLine>,
}

/// An instruction.
#[derive(Clone, Debug, Serialize)]
pub struct ListingLine {
    /// Its slot.
    pub slot: u32,
    /// As text.
    pub text: String,
    /// What it refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The source line that begins here: file, line, text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<(String, u32, String)>,
}

/// Lists every function of an object.
pub(crate) fn list(object: &Object<'_>) -> Vec<Listing> {
    let listing = |function: &Function| Listing {
        function: function.name.clone(),
        section: function.section.clone(),
        error: function.broken.as_ref().map(ToString::to_string),
        lines: lines(object, function),
    };
    object.functions.iter().map(listing).collect()
}

fn lines(object: &Object<'_>, function: &Function) -> Vec<ListingLine> {
    let mut sources = function.lines.iter().peekable();
    let mut line = |insn: &Insn| {
        let mut source = None;
        while let Some(line) = sources.next_if(|l| l.slot <= insn.slot) {
            let (file, text) = (object.string(line.file), object.string(line.text));
            source = Some((file.to_owned(), line.line, text.trim().to_owned()));
        }
        let reference = insn.reference.map(|r| describe(object, r));
        ListingLine {
            slot: insn.slot,
            text: disassemble(insn),
            reference,
            source,
        }
    };
    function.insns.iter().map(&mut line).collect()
}

fn describe(object: &Object<'_>, reference: Ref) -> String {
    match reference {
        Ref::Map(map) => format!("map {}", object.maps[map].name),
        Ref::Data(map, offset) => {
            let map = &object.maps[map];
            let symbols = map.data.iter().flat_map(|d| &d.symbols);
            let mut inside = symbols
                .rev()
                .filter(|s| (s.offset..s.offset + s.size.max(1)).contains(&offset));
            match inside.next() {
                Some(symbol) if symbol.offset == offset => format!("{} {}", map.name, symbol.name),
                Some(symbol) => format!("{} {}+{}", map.name, symbol.name, offset - symbol.offset),
                None => format!("{}+{offset}", map.name),
            }
        }
        Ref::Value(map, offset) => format!("value of {}+{offset}", object.maps[map].name),
        Ref::Function(function) => object.functions[function].name.clone(),
        Ref::Extern(index) => format!("extern {}", object.externs[index].name),
        Ref::Core(index) => object.relocations[index].import.clone(),
    }
}

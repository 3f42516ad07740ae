//! Lifts eBPF ELF objects, instruction by instruction, to WebAssembly.
//!
//! The file list is the pipeline: `object` (ELF, BTF, maps, relocations) → `isa` (the instruction
//! table) → `cfg` (blocks, dominators, structure) → `types` (what registers point to, and how wide they are) → `lower`
//! (one function per lowering shape) → `emit` (the module) → `check` (the result, verified). Beside it, `events` reads from the
//! code what the events are that it sends.
//!
//! Pure: bytes in, bytes out; no I/O, no `unsafe`, no knowledge of a runtime. What a translated
//! module looks like is `ARCHITECTURE.md` and the crate `wprobe-abi`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod analysis;
mod cfg;
mod check;
mod emit;
mod error;
mod events;
mod isa;
mod licence;
mod listing;
mod lower;
mod module;
mod object;
mod session;
mod translate;
mod types;

pub use abi::manifest::{Manifest, Sent};
pub use check::check;
pub use error::{
    Error, ErrorKind, FlowError, InsnError, ModuleError, ObjectError, ReferenceError, Result,
};
pub use events::fit::{Agreement, Member, fit};
pub use events::infer::infer;
pub use isa::asm::{AsmError, assemble};
pub use isa::table::Level;
pub use listing::{Listing, ListingLine};
pub use lower::Accesses;
pub use module::{Lacking, Place, custom_section, imports, in_c, lacking, place, read_manifest};
pub use object::btf;
pub use object::embedded::{Embedded, embedded_objects, pick};
pub use object::raw::Raw;

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

/// How to translate.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What sections of unknown names are: (section or program, section to treat it as).
    pub section_types: Vec<(String, String)>,
    /// The programs to translate; none meaning all.
    pub programs: Vec<String>,
    /// Programs to leave out.
    pub skip: Vec<String>,
}

/// A translated object.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The module's bytes.
    pub wasm: Vec<u8>,
    /// The manifest it carries.
    pub manifest: Manifest,
    /// What the instructions became, in the order of the module's bytes.
    pub spans: Vec<Span>,
    /// What a person wants to know about the translation.
    pub summary: Summary,
}

/// A piece of a module's code and the instruction it comes from; one may have several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The instruction's site (see [`abi::manifest::Function`]).
    pub site: u32,
    /// The bytes of the module.
    pub bytes: Range<usize>,
}

/// Sizes and counts of a translation.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// eBPF instruction slots translated.
    pub slots: usize,
    /// Bytes of the wasm code section.
    pub code_bytes: usize,
    /// Bytes of the module.
    pub wasm_bytes: usize,
    /// Imports as `module.name`, in order.
    pub imports: Vec<String>,
    /// The highest ISA level that an instruction of it needs.
    pub isa: Option<Level>,
    /// How memory accesses were translated.
    pub accesses: Accesses,
    /// Functions whose control flow is irreducible and goes through a dispatch loop.
    pub dispatch: Vec<String>,
    /// Maps that are left out, because their definitions make no sense: why.
    pub left_out: Vec<String>,
}

/// Translates a BPF object; `name` is what messages and the manifest call it. Programs that cannot be translated are left
/// out, and [`Manifest::refused`] says why.
///
/// # Errors
///
/// What is wrong with the object as a whole, or with the first of its programs if none can be translated.
pub fn convert(object: &[u8], name: &str, options: &Options) -> Result<Converted> {
    let whole = |mut o: object::Object<'_>| {
        o.sent = events::sent(&o);
        translate::translate(&mut o, name)
    };
    let parsed = object::Object::parse(object, options);
    parsed.and_then(whole).map_err(|e| e.in_object(name))
}

/// The verdict on a program.
#[derive(Clone, Debug)]
pub struct ProgramCheck {
    /// Its name.
    pub program: String,
    /// Its section as written.
    pub section: String,
    /// What its translation, by itself, comes to.
    pub result: Result<Summary>,
    /// What it calls that this version's runtimes lack.
    pub lacks: Vec<Lacking>,
    /// Maps of types that these lack, and that it uses.
    pub maps: Vec<String>,
}

/// Translates every program of an object by itself and keeps only what came of it. An error is one of the object as a whole.
pub fn check_programs(object: &[u8], name: &str, options: &Options) -> Result<Vec<ProgramCheck>> {
    let mut parsed = object::Object::parse(object, options).map_err(|e| e.in_object(name))?;
    Ok(translate::each(&mut parsed, name))
}

/// An object's code, function by function.
pub fn list(object: &[u8], name: &str, options: &Options) -> Result<Vec<Listing>> {
    let parsed = object::Object::parse(object, options).map_err(|e| e.in_object(name))?;
    Ok(listing::list(&parsed))
}

/// A module that describes an object and has no code: every program whose section says what it is, also where it cannot be
/// translated; maps, data and types as ever. For whoever has another way to run it.
///
/// # Errors
///
/// What is wrong with the object as a whole.
pub fn describe(object: &[u8], name: &str, options: &Options) -> Result<Vec<u8>> {
    let described = |mut o: object::Object<'_>| {
        o.sent = events::sent(&o);
        translate::describe(&o, name)
    };
    let parsed = object::Object::parse(object, options);
    parsed.and_then(described).map_err(|e| e.in_object(name))
}

/// What an object's maps send, as far as it tells.
pub fn events(object: &[u8], name: &str, options: &Options) -> Result<Vec<Sent>> {
    let parsed = object::Object::parse(object, options).map_err(|e| e.in_object(name))?;
    Ok(events::sent(&parsed))
}

/// Translates a bare program; `name` is what messages and the manifest call it.
pub fn convert_raw(raw: &Raw<'_>, name: &str, options: &Options) -> Result<Converted> {
    let parsed = object::Object::from_raw(raw, name, options);
    parsed
        .and_then(|mut o| translate::translate(&mut o, name))
        .map_err(|e| e.in_object(name))
}

/// An instruction in one of its widths and operand kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// As [`assemble`] reads it.
    pub mnemonic: String,
    /// Its opcode.
    pub opcode: u8,
    /// The ISA level it came with.
    pub level: Level,
}

/// Every instruction of the table.
pub fn instructions() -> impl Iterator<Item = Instruction> {
    isa::table::ROWS.iter().flat_map(|row| {
        row.opcodes().map(move |opcode| {
            let mnemonic = isa::disasm::mnemonic(row, opcode);
            Instruction {
                mnemonic,
                opcode,
                level: row.level,
            }
        })
    })
}

/// A program's code as text, one instruction a line.
pub fn disassemble(code: &[u8]) -> Result<String> {
    let lines = isa::decode::decode(code)?;
    Ok(lines
        .iter()
        .map(|insn| isa::disasm::disassemble(insn) + "\n")
        .collect())
}

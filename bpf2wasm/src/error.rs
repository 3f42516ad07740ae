//! What can be wrong with an input, and where.
//!
//! Every refusal is one variant, with a test. The location is filled in from the inside out:
//! whoever knows the instruction, the program or the object's name adds it.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::btf::BtfError;

/// A refusal: what, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The object, as it was named to the translator.
    pub object: Option<String>,
    /// The program or subprogram.
    pub program: Option<String>,
    /// The instruction, counting 8-byte slots from the start of the function.
    pub insn: Option<usize>,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// The result of a fallible step.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The object file.
    Object(ObjectError),
    /// Its BTF.
    Btf(BtfError),
    /// An instruction, by itself.
    Insn(InsnError),
    /// A function's control flow.
    Flow(FlowError),
    /// What an instruction refers to.
    Reference(ReferenceError),
    /// The wasm module.
    Module(ModuleError),
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $(($($bind:ident: $ty:ty),*))? => $($text:expr),+;)* })*) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant $(($($ty),*))?,)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $($name::$variant $(($($bind),*))? => write!(f, $($text),+),)*
                }
            }
        })*
    };
}

errors! {
    /// Refusals of an object file.
    ObjectError {
        /// No ELF file at all.
        NotElf => "not an ELF file";
        /// Cut short or inconsistent.
        Malformed(what: String) => "malformed ELF file: {what}";
        /// For another machine, and no object is embedded in it.
        Machine(machine: u16) => "ELF machine {machine} is not BPF (247), and no BPF object is embedded";
        /// An executable without embedded objects.
        NothingEmbedded => "no BPF object is embedded in it";
        /// Several objects inside and none was picked.
        Ambiguous(names: Vec<String>) => "holds several BPF objects ({}): pick one by name or index", names.join(", ");
        /// The picked one is not there.
        NoSuchObject(wanted: String, names: Vec<String>) => "holds no BPF object {wanted:?}, only {}", names.join(", ");
        /// Big-endian code: the bytes of its data sections would have to be swapped by type.
        BigEndian => "big-endian BPF is not supported";
        /// Nothing that could be loaded.
        Nothing => "neither programs nor maps";
        /// A program that is asked for, or to be left out, and is not there.
        NoSuchProgram(wanted: String, names: Vec<String>) => "no program {wanted}, only {}", names.join(", ");
        /// A type for what is no section or program.
        NoSuchSection(wanted: String) => "{wanted:?}, for which a type is given, is no section or program of it";
        /// A type that is none.
        NoSuchType(wanted: String, ty: String) => "type {ty:?}, given for {wanted:?}, is no program type's section";
        /// A program that was not asked for.
        LeftOut => "left out, as asked for";
        /// A section of code whose name says no program type.
        Section(section: String) => "section {section:?} is of no supported program type";
        /// Code that is no multiple of 8 bytes, or a function that leaves its section.
        CodeSize(section: String) => "section {section:?}: code is cut short";
        /// Two programs or maps of one name.
        Duplicate(name: String) => "{name:?} is defined twice";
        /// A map definition that BTF does not describe as libbpf expects.
        MapDefinition(map: String, what: &'static str) => "map {map:?}: {what}";
        /// A map type number the kernel does not have.
        MapType(map: String, number: u32) => "map {map:?}: unknown map type {number}";
        /// A `.BTF.ext` that is cut short.
        BtfExt => "malformed .BTF.ext";
        /// A struct_ops program or map.
        StructOps => "struct_ops is not supported: the kernel module registers no kernel structures";
    }

    /// Refusals of one instruction.
    InsnError {
        /// No row of the instruction table.
        Unknown(opcode: u8) => "unknown opcode {opcode:#04x}";
        /// A row, but a field has a value it must not have.
        Field(mnemonic: &'static str, field: &'static str, value: i64) => "{mnemonic}: field {field} cannot be {value}";
        /// A register above r10, or r10 as a destination.
        Register(register: u8) => "bad register r{register}";
        /// `ld_imm64` without its second half.
        Truncated => "ld_imm64 is cut short";
        /// An instruction of an address space this runtime does not have.
        Arena => "address spaces (arena) are not supported";
        /// Calls through a register, which no kernel accepts.
        IndirectCall => "calls through a register are not supported";
    }

    /// Refusals of a function's control flow.
    FlowError {
        /// The end is reached without `exit`.
        FallsOff => "control falls off the end";
        /// A jump out of the function or into the middle of `ld_imm64`.
        Target(target: i64) => "jump to {target}, which is no instruction of this function";
        /// Functions that call themselves.
        Recursion => "recursive calls";
        /// Frames that do not fit.
        Stack(bytes: u32) => "the deepest call chain uses {bytes} bytes of stack, more than there are";
        /// A function with no instructions.
        Empty => "no instructions";
    }

    /// Refusals of what an instruction refers to.
    ReferenceError {
        /// A call that is for programs under the GPL, in one under another licence.
        Licence(callee: String, licence: String) => "{callee} is for programs under a GPL-compatible licence, and this one's is {licence:?}";
        /// A call of what is about a session, in a program that is of none.
        Session(callee: String) => "{callee} is for programs of sessions (kprobe.session and its like)";
        /// An address before or behind its section.
        Outside(section: String, offset: i64, size: u32) => "address {offset} of {section}, which has {size} bytes";
        /// An access at a known address that is not wholly in its section.
        Access(bytes: u32, section: String, offset: i64, size: u32) => "access of {bytes} bytes at {offset} of {section}, which has {size}";
        /// An access at a known place that is not wholly in its function's frame.
        Frame(bytes: i64, offset: i32) => "access of {bytes} bytes at {offset} of the frame, which is the 512 bytes below 0";
        /// A call to something that is no function.
        Callee(target: i64) => "call to {target}, which is no function";
        /// A relocation type BPF does not have.
        RelocationType(number: u32) => "unknown relocation type {number}";
        /// A relocation of an instruction that cannot have one.
        RelocationPlace(symbol: String) => "relocation against {symbol:?} on an instruction that takes none";
        /// A relocation against something that is no map, data or function.
        Symbol(symbol: String) => "relocation against {symbol:?}, which is no map, data or function";
        /// A CO-RE relocation of an unknown kind.
        CoreKind(kind: u32) => "unknown CO-RE relocation kind {kind}";
        /// A CO-RE relocation on an instruction that cannot have one.
        CorePlace(mnemonic: &'static str) => "CO-RE relocation on {mnemonic}, which takes none";
        /// A map by descriptor or index: the object is not relocated against a symbol.
        RawMap(pseudo: u8) => "ld_imm64 with pseudo source {pseudo} but no relocation";
        /// More arguments than a callback or subprogram can take.
        Arguments(count: usize) => "{count} arguments";
    }

    /// Refusals of a wasm module by `check`, or of its manifest.
    ModuleError {
        /// Not valid WebAssembly.
        Invalid(what: String) => "not a valid module: {what}";
        /// An import outside the contract.
        Import(module: String, name: String) => "unknown import {module}.{name}";
        /// `env.stack_base` is not global 0, or a global is not an immutable i64.
        Global(name: String) => "global {name}: not as the contract says";
        /// An import of another type than the contract's.
        ImportType(name: String) => "import {name} has a wrong type";
        /// No manifest section.
        NoManifest => "no manifest: not a translated module";
        /// A manifest that does not parse.
        Manifest(what: String) => "bad manifest: {what}";
        /// A manifest of another version.
        Version(version: u32) => "manifest version {version} is not supported";
    }
}

impl Error {
    /// A refusal of nothing more precise than the input.
    pub fn new(kind: impl Into<ErrorKind>) -> Self {
        Error {
            object: None,
            program: None,
            insn: None,
            kind: kind.into(),
        }
    }

    /// A refusal of instruction slot `insn`.
    pub(crate) fn at(insn: usize, kind: impl Into<ErrorKind>) -> Self {
        Error {
            insn: Some(insn),
            ..Error::new(kind)
        }
    }

    /// Adds the function's name, if there is none yet.
    pub(crate) fn in_program(mut self, name: &str) -> Self {
        self.program.get_or_insert_with(|| name.to_owned());
        self
    }

    /// Adds the object's name, if there is none yet.
    pub(crate) fn in_object(mut self, name: &str) -> Self {
        self.object.get_or_insert_with(|| name.to_owned());
        self
    }
}

macro_rules! from {
    ($($ty:ident $variant:ident;)*) => {
        $(impl From<$ty> for ErrorKind {
            fn from(error: $ty) -> Self {
                ErrorKind::$variant(error)
            }
        }
        impl From<$ty> for Error {
            fn from(error: $ty) -> Self {
                Error::new(error)
            }
        })*

        impl fmt::Display for ErrorKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(ErrorKind::$variant(error) => error.fmt(f),)*
                }
            }
        }
    };
}

from! {
    ObjectError Object;
    BtfError Btf;
    InsnError Insn;
    FlowError Flow;
    ReferenceError Reference;
    ModuleError Module;
}

impl fmt::Display for Error {
    /// `vfsstat.bpf.o: program kprobe_vfs_read, insn 17: call of unknown helper 9999`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        match (&self.program, self.insn) {
            (Some(program), Some(insn)) => write!(f, "program {program}, insn {insn}: ")?,
            (Some(program), None) => write!(f, "program {program}: ")?,
            (None, Some(insn)) => write!(f, "insn {insn}: ")?,
            (None, None) => {}
        }
        self.kind.fmt(f)
    }
}

impl core::error::Error for Error {}

//! Native code of a translated module: how the loader hands it over, and what it knows of its run.
//!
//! An [`Image`] is what the loader's compiler makes of a module's wasm, of the values of its imported globals, and of the
//! size of its sandbox's memory: position-independent text, and where in it the runtime's functions are called. The text
//! is what the crate `checker` proves; the kernel runs what it cannot prove only for those who may load kernel modules. All else is
//! checked here.
//!
//! All numbers are little-endian. A header, then the body:
//!
//! | header | |
//! |---|---|
//! | 8 bytes | [`MAGIC`] |
//! | u32 | [`VERSION`]: of this format, of [`Vm`], and of how functions are called |
//! | u32 | bytes of guest memory it was compiled for |
//! | 32 bytes | SHA-256 of the wasm |
//! | 32 bytes | SHA-256 of the body |
//!
//! | body | |
//! |---|---|
//! | u32, then each | imports: u32 parameters, name of the module, name |
//! | u32, then each | exports that take a context: u32 offset of the entry, u32 bytes of the context that are read, name |
//! | u32, then each | the table of callbacks: u32 offset of the entry, or [`NONE`] |
//! | u32, then each | calls: u32 offset of the 32-bit displacement, u32 callee |
//! | u32, then bytes | the text |
//!
//! A name is a u32 and so many bytes of UTF-8. A callee is [`TRAP`], [`RETURN`], or [`IMPORTS`] plus an import's index.
//!
//! A function takes a [`Vm`] and up to five numbers as the System V convention does, and saves no register. It ends by a
//! jump to [`RETURN`], a function of its result, so that how a kernel returns is the kernel's. Imports are System V's: a
//! [`Vm`] and the arguments, the result back. [`TRAP`] takes a [`Vm`], a code and a site, and does not return.

use core::fmt;

/// What an image begins with.
pub const MAGIC: [u8; 8] = *b"wprobe\0N";
/// Version of everything this file says.
pub const VERSION: u32 = 2;
/// Bytes of a SHA-256.
pub const DIGEST: usize = 32;
/// Bytes of the header.
pub const HEADER: usize = MAGIC.len() + 8 + 2 * DIGEST;
/// No function.
pub const NONE: u32 = u32::MAX;

/// The function that ends a run early.
pub const TRAP: u32 = 0;
/// The function that functions end with.
pub const RETURN: u32 = 1;
/// The function of the first import.
pub const IMPORTS: u32 = 2;

/// Helpers, by id, that only read a number of the host, and can neither fail nor take long: native code need not be ready for
/// their end of the run, and pays for them where it pays for itself.
pub const READING: [u32; 12] = [5, 7, 14, 15, 35, 42, 80, 118, 125, 158, 160, 208];

/// Whether `module.name` is one of [`READING`].
pub fn is_reading(module: &str, name: &str) -> bool {
    let row = crate::helpers::by_name(name).filter(|_| module == crate::imports::BPF);
    row.is_some_and(|row| READING.contains(&row.id))
}

/// What native code knows of its run: one a CPU and sandbox.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Vm {
    /// Address of guest memory.
    pub memory: u64,
    /// Address of `env.stack_base` in it.
    pub stack: u64,
    /// `env.stack_base`.
    pub stack_base: u64,
    /// The CPU's number.
    pub cpu: u64,
    /// What is left of the budget, where native code calls and returns.
    pub fuel: u64,
    /// The stack pointer below which no function is called.
    pub stack_limit: u64,
    /// The stack pointer that the run is left by; how is the runtime's.
    pub resume: u64,
}

/// Bytes of the native stack that functions of a module may take, all calls together. What they call has its own.
pub const STACK: u64 = 2048;
/// Bytes of one function's frame at most.
pub const FRAME: u32 = 1024;

/// Why bytes are no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// They do not begin as one does.
    Magic,
    /// Made by, or for, another version.
    Version(u32),
    /// They end too early, go on too long, or say what cannot be; where.
    Damaged(&'static str),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("no native code"),
            Self::Version(version) => {
                write!(f, "native code of version {version}, this is {VERSION}")
            }
            Self::Damaged(what) => write!(f, "native code is damaged: {what}"),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Invalid> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(Invalid::Damaged(what))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn number(&mut self, what: &'static str) -> Result<u32, Invalid> {
        let bytes = self.bytes(4, what)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn name(&mut self, what: &'static str) -> Result<&'a str, Invalid> {
        let length = self.number(what)?;
        let bytes = self.bytes(length as usize, what)?;
        core::str::from_utf8(bytes).map_err(|_| Invalid::Damaged(what))
    }

    /// The bytes of a table, whose rows `row` passes over.
    fn table(
        &mut self,
        what: &'static str,
        mut row: impl FnMut(&mut Self) -> Result<(), Invalid>,
    ) -> Result<Table<'a>, Invalid> {
        let count = self.number(what)?;
        let begin = self.rest;
        for _ in 0..count {
            row(self)?;
        }
        let length = begin.len() - self.rest.len();
        Ok(Table {
            count,
            bytes: &begin[..length],
        })
    }
}

/// Rows that were read once and are sound.
#[derive(Clone, Copy, Debug)]
struct Table<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    fn rows<T>(
        self,
        row: impl Fn(&mut Reader<'a>) -> Result<T, Invalid>,
    ) -> impl Iterator<Item = T> {
        let mut reader = Reader { rest: self.bytes };
        (0..self.count).map_while(move |_| row(&mut reader).ok())
    }
}

/// Native code, read and checked.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Bytes of guest memory it was compiled for.
    pub memory: u32,
    /// SHA-256 of the wasm it was compiled from.
    pub wasm: &'a [u8],
    /// What SHA-256 of [`Image::body`] must be; checking that is the runtime's.
    pub checksum: &'a [u8],
    /// All behind the header.
    pub body: &'a [u8],
    /// The code.
    pub text: &'a [u8],
    imports: Table<'a>,
    programs: Table<'a>,
    callbacks: Table<'a>,
    calls: Table<'a>,
}

/// An imported function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Import<'a> {
    /// How many i64 parameters it is called with.
    pub params: u32,
    /// The module's name.
    pub module: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// An export that takes a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// Offset of its first instruction.
    pub entry: u32,
    /// Bytes of the context that it reads at most.
    pub context: u32,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Image<'a> {
    /// Reads an image.
    ///
    /// # Errors
    ///
    /// [`Invalid`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, Invalid> {
        let mut header = Reader { rest: bytes };
        let magic = header.bytes(MAGIC.len(), "magic");
        if magic != Ok(&MAGIC[..]) {
            return Err(Invalid::Magic);
        }
        let version = header.number("version")?;
        if version != VERSION {
            return Err(Invalid::Version(version));
        }
        let memory = header.number("memory")?;
        let wasm = header.bytes(DIGEST, "digest")?;
        let checksum = header.bytes(DIGEST, "checksum")?;
        let body = header.rest;
        let mut reader = Reader { rest: body };
        let imports = reader.table("imports", |r| import(r).map(drop))?;
        let programs = reader.table("programs", |r| program(r).map(drop))?;
        let callbacks = reader.table("callbacks", |r| r.number("callback").map(drop))?;
        let calls = reader.table("calls", |r| call(r).map(drop))?;
        let length = reader.number("text")?;
        let text = reader.bytes(length as usize, "text")?;
        if !reader.rest.is_empty() {
            return Err(Invalid::Damaged("end"));
        }
        let image = Self {
            memory,
            wasm,
            checksum,
            body,
            text,
            imports,
            programs,
            callbacks,
            calls,
        };
        image.check().map(|()| image)
    }

    /// Whether all that points into something does.
    fn check(&self) -> Result<(), Invalid> {
        let length = self.text.len() as u64;
        let inside = |offset: u32, size: u64| u64::from(offset) + size <= length;
        let callees = u64::from(IMPORTS) + u64::from(self.imports.count);
        let programs = self.programs().all(|program| inside(program.entry, 1));
        let callbacks = self
            .callbacks()
            .all(|entry| entry == NONE || inside(entry, 1));
        let calls = self
            .calls()
            .all(|(at, callee)| inside(at, 4) && u64::from(callee) < callees);
        let arguments = self.imports().all(|import| import.params <= 5);
        for (sound, what) in [
            (programs, "programs"),
            (callbacks, "callbacks"),
            (calls, "calls"),
            (arguments, "imports"),
        ] {
            if !sound {
                return Err(Invalid::Damaged(what));
            }
        }
        Ok(())
    }

    /// The imported functions, by index.
    pub fn imports(&self) -> impl Iterator<Item = Import<'a>> {
        self.imports.rows(import)
    }

    /// The exports that take a context.
    pub fn programs(&self) -> impl Iterator<Item = Program<'a>> {
        self.programs.rows(program)
    }

    /// Entries of the functions that helpers may call, or [`NONE`], by the number programs have for them.
    pub fn callbacks(&self) -> impl Iterator<Item = u32> {
        self.callbacks.rows(|r| r.number("callback"))
    }

    /// Where the text has the distance to a callee, and which.
    pub fn calls(&self) -> impl Iterator<Item = (u32, u32)> {
        self.calls.rows(call)
    }
}

fn import<'a>(reader: &mut Reader<'a>) -> Result<Import<'a>, Invalid> {
    Ok(Import {
        params: reader.number("import")?,
        module: reader.name("import")?,
        name: reader.name("import")?,
    })
}

fn program<'a>(reader: &mut Reader<'a>) -> Result<Program<'a>, Invalid> {
    Ok(Program {
        entry: reader.number("program")?,
        context: reader.number("program")?,
        name: reader.name("program")?,
    })
}

fn call(reader: &mut Reader<'_>) -> Result<(u32, u32), Invalid> {
    Ok((reader.number("call")?, reader.number("call")?))
}

/// What stands at a call for a callee at address `to`, if the displacement lies at `at`; `None` if that is too far.
pub fn displacement(at: u64, to: u64) -> Option<[u8; 4]> {
    let distance = to.wrapping_sub(at.wrapping_add(4)) as i64;
    i32::try_from(distance).ok().map(i32::to_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn image(entry: u32, at: u32, callee: u32) -> Vec<u8> {
        let mut bytes = Vec::from(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(0x1_0000u32.to_le_bytes());
        bytes.extend([7; 2 * DIGEST]);
        let number = |n: u32, bytes: &mut Vec<u8>| bytes.extend(n.to_le_bytes());
        let name = |text: &str, bytes: &mut Vec<u8>| {
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        number(1, &mut bytes);
        number(2, &mut bytes);
        name("bpf", &mut bytes);
        name("loop", &mut bytes);
        number(1, &mut bytes);
        number(entry, &mut bytes);
        number(112, &mut bytes);
        name("kprobe:x:", &mut bytes);
        number(2, &mut bytes);
        number(NONE, &mut bytes);
        number(8, &mut bytes);
        number(1, &mut bytes);
        number(at, &mut bytes);
        number(callee, &mut bytes);
        number(16, &mut bytes);
        bytes.extend([0xcc; 16]);
        bytes
    }

    #[test]
    fn an_image_says_what_was_put_in() {
        let bytes = image(4, 12, IMPORTS);
        let image = Image::read(&bytes).unwrap();
        let import = image.imports().next().unwrap();
        assert_eq!(
            (import.params, import.module, import.name),
            (2, "bpf", "loop")
        );
        let program = image.programs().next().unwrap();
        assert_eq!(
            (program.name, program.entry, program.context),
            ("kprobe:x:", 4, 112)
        );
        assert!(image.callbacks().eq([NONE, 8]));
        assert!(image.calls().eq([(12, IMPORTS)]));
        assert_eq!((image.memory, image.text.len()), (0x1_0000, 16));
        assert_eq!(HEADER, bytes.len() - image.body.len());
    }

    #[test]
    fn what_points_outside_is_refused() {
        for (entry, at, callee, what) in [
            (16, 12, RETURN, "programs"),
            (4, 13, RETURN, "calls"),
            (4, 12, IMPORTS + 1, "calls"),
        ] {
            let refusal = Image::read(&image(entry, at, callee)).unwrap_err();
            assert_eq!(refusal, Invalid::Damaged(what));
        }
    }

    #[test]
    fn a_shorter_or_longer_one_is_refused() {
        let mut bytes = image(4, 12, TRAP);
        for length in 0..bytes.len() {
            assert!(Image::read(&bytes[..length]).is_err(), "{length}");
        }
        bytes.push(0);
        assert_eq!(Image::read(&bytes).unwrap_err(), Invalid::Damaged("end"));
        bytes[8] += 1;
        assert_eq!(
            Image::read(&bytes).unwrap_err(),
            Invalid::Version(VERSION + 1)
        );
    }

    #[test]
    fn displacements_reach_two_gigabytes() {
        assert_eq!(displacement(0x1000, 0x1004), Some([0; 4]));
        assert_eq!(displacement(0x1000, 0x0ff4), Some((-16i32).to_le_bytes()));
        assert_eq!(displacement(0, 1 << 33), None);
    }
}

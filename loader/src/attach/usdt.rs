//! Statically defined tracepoints of user space: where a binary has them, and how each place passes its arguments.
//!
//! The notes are systemtap's (`.note.stapsdt`). What a program learns of its arguments is libbpf's convention
//! (`usdt.bpf.h`): the map `__bpf_usdt_specs` has a specification for each place, and the link's cookie is its index. The
//! layout of a specification is that of the libbpf an object was built with; its BTF tells.

use std::collections::HashMap;
use std::ops::Range;

use abi::manifest::Manifest;
use bpf2wasm::btf::{Btf, Type};
use object::{Object, ObjectSection};

use super::elf;
use crate::device::{self, Map};

/// The map of specifications.
pub(crate) const SPECS: &str = "__bpf_usdt_specs";
/// Owner and type of the notes.
const OWNER: &[u8] = b"stapsdt\0";
const NOTE: u32 = 3;

/// A `struct __bpf_usdt_spec`; empty for programs that read no arguments.
pub(crate) type Spec = Vec<u8>;

/// One place of a tracepoint.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where in the file.
    pub(crate) offset: u64,
    /// Where in the file a counter says that somebody listens; 0: nowhere.
    pub(crate) semaphore: u64,
    /// How the arguments are passed.
    pub(crate) spec: Spec,
}

/// The specifications in a sandbox's map: one for all places of an attachment that pass their arguments alike, as libbpf
/// has it.
pub(super) struct Specs<'m> {
    map: Option<&'m Map>,
    next: u32,
}

impl<'m> Specs<'m> {
    pub(super) fn new(maps: &'m [Map]) -> Self {
        Specs {
            map: maps.iter().find(|map| map.name() == SPECS),
            next: 0,
        }
    }

    /// Adds those of an attachment's places; the index of each place's. A program that reads no arguments has no map.
    pub(super) fn add(&mut self, specs: &[Spec]) -> device::Result<Vec<u64>> {
        let (indices, new) = number(specs, self.next);
        if let Some(map) = self.map {
            for (index, spec) in (self.next..).zip(&new) {
                map.update(&index.to_ne_bytes(), spec, 0)?;
            }
        }
        self.next += new.len() as u32;
        Ok(indices)
    }
}

/// The number of each specification, from `first` on, and each of them once.
pub(crate) fn number(specs: &[Spec], first: u32) -> (Vec<u64>, Vec<&Spec>) {
    let mut known = HashMap::new();
    let mut new = Vec::new();
    let number = |spec| {
        *known.entry(spec).or_insert_with(|| {
            new.push(spec);
            u64::from(first) + new.len() as u64 - 1
        })
    };
    (specs.iter().map(number).collect(), new)
}

/// The places of `provider:name` in the file at `path`.
pub(crate) fn places(
    path: &str,
    provider: &str,
    name: &str,
    layout: Option<&Layout>,
) -> Result<Vec<Place>, String> {
    let bytes = elf::read(path)?;
    let file = elf::parse(path, &bytes)?;
    let section = |name| file.section_by_name(name);
    let notes = section(".note.stapsdt").and_then(|s| s.data().ok());
    let base = section(".stapsdt.base").map(|s| s.address());
    let mut found = Vec::new();
    for note in Notes(notes.unwrap_or_default()) {
        let note = note.ok_or_else(|| format!("{path}: broken .note.stapsdt"))?;
        if note.provider != provider || note.name != name {
            continue;
        }
        // A prelinked file moves, its notes do not.
        let moved = base.map_or(0, |base| base.wrapping_sub(note.base));
        let lies = |address: u64| {
            let offset = elf::offset(&file, address.wrapping_add(moved));
            offset.ok_or_else(|| format!("{path}: {provider}:{name} lies outside the file"))
        };
        found.push(Place {
            offset: lies(note.address)?,
            semaphore: match note.semaphore {
                0 => 0,
                semaphore => lies(semaphore)?,
            },
            spec: layout.map_or(Ok(Spec::new()), |layout| layout.specify(note.arguments))?,
        });
    }
    match found.is_empty() {
        true => Err(format!("{path} has no tracepoint {provider}:{name}")),
        false => Ok(found),
    }
}

/// A note.
struct Note<'a> {
    address: u64,
    base: u64,
    semaphore: u64,
    provider: &'a str,
    name: &'a str,
    arguments: &'a str,
}

/// The notes of a section; the last item is `None` if it is cut short.
struct Notes<'a>(&'a [u8]);

impl<'a> Iterator for Notes<'a> {
    type Item = Option<Note<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let Some((probe, rest)) = split_note(self.0) else {
                self.0 = &[];
                return Some(None);
            };
            self.0 = rest;
            if let Some(description) = probe {
                return Some(Note::parse(description));
            }
        }
        None
    }
}

/// The first note of `bytes`: its description, if it is one of systemtap's, and what follows.
fn split_note(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (owner, description) = (word(0)? as usize, word(4)? as usize);
    let start = 12 + owner.next_multiple_of(4);
    let end = start.checked_add(description)?;
    let next = end.next_multiple_of(4).min(bytes.len());
    let is_probe = word(8)? == NOTE && bytes.get(12..12 + owner)? == OWNER;
    let description = bytes.get(start..end)?;
    Some((is_probe.then_some(description), &bytes[next..]))
}

impl<'a> Note<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let mut texts = bytes.get(24..)?.split(|byte| *byte == 0);
        let mut text = || std::str::from_utf8(texts.next()?).ok();
        Some(Note {
            address: word(0)?,
            base: word(8)?,
            semaphore: word(16)?,
            provider: text()?,
            name: text()?,
            arguments: text()?,
        })
    }
}

/// `enum __bpf_usdt_arg_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Constant = 0,
    Register = 1,
    Memory = 2,
    /// Memory at a register plus a scaled one.
    Scaled = 3,
}

/// How one argument is passed.
#[derive(Debug, PartialEq, Eq)]
struct Argument {
    kind: Kind,
    /// The constant, or the distance from the register.
    value: i64,
    /// Offset of the register in `struct pt_regs`.
    register: u16,
    /// For scaled ones: offset of the other register, and how far it is shifted.
    index: (u16, u32),
    /// Bytes; negative: signed.
    size: i8,
}

impl Argument {
    fn parse(text: &str) -> Option<Self> {
        let (size, place) = text.split_once('@')?;
        let mut argument = Argument {
            kind: Kind::Constant,
            value: 0,
            register: 0,
            index: (0, 0),
            size: size.parse().ok()?,
        };
        if ![1, 2, 4, 8].contains(&argument.size.unsigned_abs()) {
            return None;
        }
        if let Some(constant) = place.strip_prefix('$') {
            argument.value = constant.parse().ok()?;
        } else if let Some(name) = place.strip_prefix('%') {
            argument.kind = Kind::Register;
            argument.register = register(name)?;
        } else {
            let (distance, registers) = place.strip_suffix(')')?.split_once('(')?;
            let mut parts = registers.split(',').map(str::trim);
            argument.kind = Kind::Memory;
            if !distance.is_empty() {
                argument.value = distance.parse().ok()?;
            }
            argument.register = register(parts.next()?.strip_prefix('%')?)?;
            if let Some(index) = parts.next() {
                let scale: u32 = parts.next().unwrap_or("1").parse().ok()?;
                argument.kind = Kind::Scaled;
                argument.index = (register(index.strip_prefix('%')?)?, scale.checked_ilog2()?);
            }
        }
        Some(argument)
    }
}

/// Where a member lies in a struct, in bits.
type Bits = Range<usize>;

/// How an object lays out `struct __bpf_usdt_spec`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    bytes: usize,
    /// Of the first argument: where it begins. Of each: how many bits. How many there are.
    first: usize,
    stride: usize,
    arguments: usize,
    count: Bits,
    value: Bits,
    kind: Bits,
    register: Bits,
    is_signed: Bits,
    shift: Bits,
    /// Register and shift of scaled arguments, which older versions do not have.
    index: Option<(Bits, Bits)>,
}

impl Layout {
    /// Of an object's map of specifications, if it has one.
    pub(super) fn of_object(manifest: &Manifest, btf: Option<&Btf>) -> Option<Self> {
        let map = manifest.maps.iter().find(|map| map.name == SPECS)?;
        Layout::of(map.value_type, map.value_size, btf?)
    }

    /// Of values of the type `id`, which have so many `bytes`.
    pub(crate) fn of(id: u32, bytes: u32, btf: &Btf) -> Option<Self> {
        let spec = btf.resolve(id)?;
        let array = btf.resolve(spec.members().find(|m| m.name == "args")?.type_id)?;
        let array = array.array()?;
        let argument = btf.resolve(array.element)?;
        let member = |name| bits(btf, &argument, name);
        Some(Layout {
            bytes: bytes as usize,
            first: bits(btf, &spec, "args")?.start,
            stride: 8 * btf.size_of(array.element)? as usize,
            arguments: array.count as usize,
            count: bits(btf, &spec, "arg_cnt")?,
            value: member("val_off")?,
            kind: member("arg_type")?,
            register: member("reg_off")?,
            is_signed: member("arg_signed")?,
            shift: member("arg_bitshift")?,
            index: member("idx_reg_off").zip(member("scale_bitshift")),
        })
    }

    /// Whether it is the one that the libbpf of native sessions (1.7) writes. A test compares it with that libbpf's headers.
    pub(crate) fn is_libbpfs(&self) -> bool {
        *self
            == Layout {
                bytes: 304,
                first: 0,
                stride: 8 * 24,
                arguments: 12,
                count: 8 * 296..8 * 298,
                value: 0..64,
                kind: 64..72,
                register: 8 * 14..8 * 16,
                is_signed: 8 * 16..8 * 17,
                shift: 8 * 17..8 * 18,
                index: Some((80..92, 92..96)),
            }
    }

    /// The specification of arguments such as `-4@%edi 8@$5 4@-20(%rbp)`.
    fn specify(&self, arguments: &str) -> Result<Spec, String> {
        let mut spec = vec![0; self.bytes];
        let mut count = 0;
        for text in arguments.split_ascii_whitespace() {
            let odd = || format!("argument `{text}` is passed in a way that is not known");
            if count == self.arguments {
                return Err(format!("more than {count} arguments"));
            }
            let argument = Argument::parse(text).ok_or_else(odd)?;
            let at = self.first + count * self.stride;
            let mut put = |bits: &Bits, value: u64| {
                let place = at + bits.start..at + bits.end;
                put(&mut spec, place, value).ok_or_else(odd)
            };
            put(&self.value, argument.value as u64)?;
            put(&self.kind, argument.kind as u64)?;
            put(&self.register, argument.register.into())?;
            put(&self.is_signed, u64::from(argument.size < 0))?;
            put(
                &self.shift,
                64 - 8 * u64::from(argument.size.unsigned_abs()),
            )?;
            if argument.kind == Kind::Scaled {
                let (register, shift) = self.index.as_ref().ok_or_else(odd)?;
                put(register, argument.index.0.into())?;
                put(shift, argument.index.1.into())?;
            }
            count += 1;
        }
        put(&mut spec, self.count.clone(), count as u64).ok_or("an odd specification")?;
        Ok(spec)
    }
}

/// Where member `name` of `ty` lies.
fn bits(btf: &Btf, ty: &Type<'_>, name: &str) -> Option<Bits> {
    let member = ty.members().find(|member| member.name == name)?;
    let size = match member.bit_size {
        0 => 8 * btf.size_of(member.type_id)?,
        bits => bits,
    };
    Some(member.bit_offset as usize..(member.bit_offset + size) as usize)
}

/// Writes the lower bits of `value`; `None` if they lie outside.
fn put(bytes: &mut [u8], bits: Bits, value: u64) -> Option<()> {
    for (nth, bit) in bits.enumerate() {
        let byte = bytes.get_mut(bit / 8)?;
        *byte |= (((value >> nth) & 1) as u8) << (bit % 8);
    }
    Some(())
}

/// Names of each register's parts, in the order of `struct pt_regs`; what a place cannot use has none.
const REGISTERS: [&[&str]; 20] = [
    &["r15", "r15d", "r15w", "r15b"],
    &["r14", "r14d", "r14w", "r14b"],
    &["r13", "r13d", "r13w", "r13b"],
    &["r12", "r12d", "r12w", "r12b"],
    &["rbp", "ebp", "bp", "bpl"],
    &["rbx", "ebx", "bx", "bl"],
    &["r11", "r11d", "r11w", "r11b"],
    &["r10", "r10d", "r10w", "r10b"],
    &["r9", "r9d", "r9w", "r9b"],
    &["r8", "r8d", "r8w", "r8b"],
    &["rax", "eax", "ax", "al"],
    &["rcx", "ecx", "cx", "cl"],
    &["rdx", "edx", "dx", "dl"],
    &["rsi", "esi", "si", "sil"],
    &["rdi", "edi", "di", "dil"],
    &[],
    &["rip"],
    &[],
    &[],
    &["rsp", "esp", "sp", "spl"],
];

/// Offset of register `name` in `struct pt_regs`.
fn register(name: &str) -> Option<u16> {
    let at = REGISTERS.iter().position(|names| names.contains(&name))?;
    Some(8 * at as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argument(text: &str) -> Option<(Kind, i64, u16, i8)> {
        Argument::parse(text).map(|a| (a.kind, a.value, a.register, a.size))
    }

    #[test]
    fn arguments_are_read_as_libbpf_reads_them() {
        assert_eq!(argument("-4@%edi"), Some((Kind::Register, 0, 112, -4)));
        assert_eq!(argument("8@$-5"), Some((Kind::Constant, -5, 0, 8)));
        assert_eq!(argument("4@-20(%rbp)"), Some((Kind::Memory, -20, 32, 4)));
        assert_eq!(argument("1@(%rsp)"), Some((Kind::Memory, 0, 152, 1)));
        assert_eq!(argument("2@8(%rax,%rbx,4)"), Some((Kind::Scaled, 8, 80, 2)));
        assert_eq!(Argument::parse("2@(%rax,%rbx,4)").unwrap().index, (40, 2));
        for odd in [
            "",
            "8",
            "3@%rax",
            "8@%xmm0",
            "8@foo(%rip",
            "8@x(%rax)",
            "8@(%rax,%rbx,0)",
        ] {
            assert_eq!(argument(odd), None, "{odd}");
        }
    }

    /// The layout of libbpf 1.1: 16 bytes an argument, a cookie, their number.
    fn layout() -> Layout {
        Layout {
            bytes: 12 * 16 + 16,
            first: 0,
            stride: 128,
            arguments: 12,
            count: 200 * 8..202 * 8,
            value: 0..64,
            kind: 64..96,
            register: 96..112,
            is_signed: 112..120,
            shift: 120..128,
            index: None,
        }
    }

    #[test]
    fn a_specification_has_the_objects_layout() {
        let spec = layout().specify("-2@%ax 8@16(%rcx)").unwrap();
        assert_eq!(
            spec[..16],
            [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 80, 0, 1, 48]
        );
        assert_eq!(
            spec[16..32],
            [16, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 88, 0, 0, 0]
        );
        assert_eq!(spec[200..], [2, 0, 0, 0, 0, 0, 0, 0]);
        assert!(layout().specify(&"8@%rax ".repeat(13)).is_err());
        assert!(layout().specify("8@(%rax,%rbx,8)").is_err());
    }

    #[test]
    fn places_that_pass_arguments_alike_share_a_specification() {
        let specs = [vec![1], vec![2], vec![1], vec![3], vec![2]];
        let (numbers, new) = number(&specs, 7);
        assert_eq!(numbers, [7, 8, 7, 9, 8]);
        assert_eq!(new, [&vec![1], &vec![2], &vec![3]]);
    }

    #[test]
    fn notes_that_are_cut_short_are_seen() {
        let mut section = [8u32, 39, 3].map(u32::to_le_bytes).concat();
        section.extend(b"stapsdt\0");
        section.extend([1u64, 2, 3].map(u64::to_le_bytes).concat());
        section.extend(b"prov\0name\08@$1\0");
        let whole: Vec<_> = Notes(&section).collect();
        assert!(matches!(&whole[..], [Some(note)] if note.name == "name" && note.semaphore == 3));
        for end in 1..section.len() {
            assert!(Notes(&section[..end]).any(|note| note.is_none()), "{end}");
        }
    }
}

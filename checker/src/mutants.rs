//! Faults that a compiler might have, one at a time, at each place of honest code where they can be: all are refused.

use std::collections::BTreeMap;
use std::vec::Vec;
use std::{format, string::String};

use abi::native::{DIGEST, IMPORTS, Image, RETURN, TRAP};

use crate::decode::decode;
use crate::insn::{Alu, Flow, Mem, Op, RAX, RBP, RDI, RDX, RSP, Rm, Source};

/// All that is to be proven: checks that are exact, loops, calls, recursion, divisions, atomics.
const HONEST: &str = include_str!("mutants.wat");

const MEMORY: u32 = 0x1_0000;
const NOP: u8 = 0x90;

fn digest(_: &[u8]) -> [u8; DIGEST] {
    [0; DIGEST]
}

fn honest() -> Vec<u8> {
    let wasm = wat::parse_str(HONEST).expect("a module");
    compiler::compile(&wasm, MEMORY, digest, &|| false).expect("it compiles")
}

/// An instruction where it stands.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    length: usize,
    op: Op,
    before: Option<Op>,
    /// Its displacement is a callee's.
    callee: Option<u32>,
}

impl Place {
    fn end(&self) -> usize {
        self.at + self.length
    }
}

fn places(image: &Image<'_>) -> Vec<Place> {
    let calls: BTreeMap<u32, u32> = image.calls().collect();
    let (mut places, mut at, mut before) = (Vec::new(), 0, None);
    while at < image.text.len() {
        let rest = &image.text[at..];
        if rest[0] == 0xcc || rest.starts_with(&[0xf3, 0x0f, 0x1e, 0xfa]) {
            at += if rest[0] == 0xcc { 1 } else { 4 };
            before = None;
            continue;
        }
        let insn = decode(rest).expect("honest");
        let length = insn.length as usize;
        let callee = calls.get(&((at + length) as u32 - 4)).copied();
        places.push(Place {
            at,
            length,
            op: insn.op,
            before,
            callee,
        });
        before = Some(insn.op);
        at += length;
    }
    places
}

/// A fault: its name, and the bytes that are otherwise, from an offset of the text on.
struct Fault {
    name: &'static str,
    at: usize,
    bytes: Vec<u8>,
}

struct Faults<'t> {
    text: &'t [u8],
    list: Vec<Fault>,
}

impl Faults<'_> {
    fn put(&mut self, name: &'static str, at: usize, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.list.push(Fault { name, at, bytes });
    }

    fn missing(&mut self, name: &'static str, place: &Place) {
        self.put(name, place.at, &std::vec![NOP; place.length]);
    }

    /// `by` on a number of 8 or 32 bits that is the instruction's last.
    fn number(&mut self, name: &'static str, place: &Place, is_long: bool, by: i32) {
        if is_long {
            let at = place.end() - 4;
            let old = i32::from_le_bytes(self.text[at..at + 4].try_into().unwrap());
            self.put(name, at, &old.wrapping_add(by).to_le_bytes());
        } else {
            let at = place.end() - 1;
            self.put(name, at, &[self.text[at].wrapping_add(by as u8)]);
        }
    }

    /// Another condition, of a branch by 32 bits.
    fn condition(&mut self, name: &'static str, place: &Place, condition: u8) {
        if place.length == 6 {
            self.put(name, place.at + 1, &[0x80 | condition]);
        } else {
            self.put(name, place.at, &[0x70 | condition]);
        }
    }

    fn branches(&mut self, place: &Place) {
        let Op::Go {
            flow: Flow::Branch(condition),
            ..
        } = place.op
        else {
            return;
        };
        let Some(before) = place.before else { return };
        let others: &[(&str, u8)] = match (before, condition) {
            (
                Op::Alu {
                    op: Alu::Cmp,
                    to: Rm::Reg(RSP),
                    ..
                },
                _,
            ) => &[("the limit the other way", 3), ("the limit signed", 12)],
            (Op::Alu { op: Alu::Cmp, .. }, 7) => &[
                ("a bound that is signed", 15),
                ("a bound the other way", 6),
                ("a bound that is an equality", 4),
                ("a bound by parity", 10),
            ],
            (Op::Alu { op: Alu::Cmp, .. }, 3) => &[
                ("a cell too many", 7),
                ("cells that are signed", 13),
                ("cells the other way", 2),
            ],
            (Op::Alu { op: Alu::Sub, .. }, 2) => &[
                ("a payment the other way", 3),
                ("a payment by zero", 4),
                ("a payment by sign", 8),
            ],
            (Op::Alu { op: Alu::Cmp, .. }, 5) => &[("minus one the other way", 4)],
            (Op::Test { .. }, 4) if self.is_division(place) => &[("zero the other way", 5)],
            _ => return,
        };
        for (name, condition) in others {
            self.condition(name, place, *condition);
        }
        if condition != 5 {
            self.missing("a check without its branch", place);
        }
    }

    /// Whether a division follows soon.
    fn is_division(&self, place: &Place) -> bool {
        let mut at = place.end();
        for _ in 0..8 {
            match decode(&self.text[at..]) {
                Some(insn) if matches!(insn.op, Op::Div { .. }) => return true,
                Some(insn) => at += insn.length as usize,
                None => return false,
            }
        }
        false
    }

    fn arithmetic(&mut self, place: &Place) {
        let Op::Alu {
            op, to, from, wide, ..
        } = place.op
        else {
            return;
        };
        let is_long = self.text[place.at..place.end()].contains(&0x81);
        match (op, to, from) {
            (Alu::Cmp, Rm::Reg(RSP), _) => {
                self.missing("the stack's limit is not looked at", place)
            }
            (Alu::Cmp, Rm::Reg(_), Source::Imm(bound)) if bound < 0x1_0000 && bound > 0x1000 => {
                self.missing("no comparison", place);
                self.number("a bound off by one", place, is_long, 1);
                self.number("a bound off by far", place, is_long, 0x1_0000);
                if wide {
                    self.put(
                        "a comparison of a half",
                        place.at,
                        &[self.text[place.at] & !8],
                    );
                }
            }
            (Alu::Sub, Rm::Reg(RSP), _) => {
                self.number("a frame that is not words", place, true, 4);
                self.number("a frame that is too large", place, true, 0x1000);
                self.put("a frame that grows upwards", place.at + 2, &[0xc4]);
            }
            (Alu::Sub, Rm::Reg(12), Source::Imm(_)) => {
                // What is before a called function's payment its caller paid for, and that of a short one is as long.
                if !self.is_entry(place) {
                    self.missing("no payment", place);
                }
                self.put("a payment that gives", place.at + 2, &[0xc4]);
                self.put("a payment that compares", place.at + 2, &[0xfc]);
                self.put("a payment of a half", place.at, &[0x41]);
                self.put("another's payment", place.at + 2, &[0xeb]);
            }
            (Alu::And, Rm::Reg(_), Source::Imm(0x78)) => {
                self.missing("no mask", place);
                self.number("a mask that is wider", place, is_long, 0x80 - 0x78);
                self.put(
                    "a mask that sets",
                    place.end() - 2,
                    &[self.text[place.end() - 2] ^ 0x28],
                );
            }
            (Alu::Xor, Rm::Reg(RDX), Source::Rm(Rm::Reg(RDX))) if self.is_division(place) => {
                self.missing("a dividend with what was above it", place);
            }
            _ => {}
        }
    }

    /// Whether the stack's limit is looked at behind the payment.
    fn is_entry(&self, place: &Place) -> bool {
        let branch = decode(&self.text[place.end()..]).expect("honest");
        let at = place.end() + branch.length as usize;
        let op = decode(&self.text[at..]).expect("honest").op;
        matches!(
            op,
            Op::Alu {
                to: Rm::Reg(RSP),
                ..
            }
        )
    }

    fn memory(&self, op: Op) -> Option<(Mem, u8, bool)> {
        match op {
            Op::Load {
                from: Rm::Mem(mem),
                size,
                ..
            } => Some((mem, size, false)),
            Op::Store {
                to: Rm::Mem(mem),
                size,
                ..
            }
            | Op::StoreImm { to: mem, size, .. } => Some((mem, size, true)),
            _ => None,
        }
    }

    /// The displacement of an access, if it has one of 32 bits, or of 8.
    fn displaced(&mut self, name: &'static str, place: &Place, old: i32, new: i32) {
        let bytes = &self.text[place.at..place.end()];
        let long = old.to_le_bytes();
        if let Some(found) = bytes
            .windows(4)
            .rposition(|w| w == long)
            .filter(|_| i8::try_from(old).is_err())
        {
            self.put(name, place.at + found, &new.to_le_bytes());
        } else if let (Some(found), Ok(new)) = (
            bytes.iter().rposition(|b| *b == old as u8),
            i8::try_from(new),
        ) {
            self.put(name, place.at + found, &[new as u8]);
        }
    }

    fn accesses(&mut self, place: &Place) {
        let Some((mem, size, is_store)) = self.memory(place.op) else {
            return;
        };
        let rex = self.text[place.at];
        match (mem.base, mem.index) {
            (RBP, None) => {
                self.displaced("the return address", place, mem.disp, 8);
                self.displaced("beyond the return address", place, mem.disp, 16);
                self.displaced("below the frame", place, mem.disp, -128);
            }
            (15, None) if is_store => {
                self.missing("what is left is not put back", place);
                self.displaced("a field that is not to be written", place, mem.disp, 40);
                // The middle bits of modrm, with r12's of rex: another register.
                self.put("another number is left", place.at, &[rex & !4]);
            }
            (15, None) => {
                self.displaced("a field that there is not", place, mem.disp, 48);
                self.put("a half of a field", place.at, &[rex & !8]);
            }
            (14, Some(_)) => {
                let scaled = place.at + self.sib(place);
                self.put(
                    "an index that is scaled",
                    scaled,
                    &[self.text[scaled] | 0xc0],
                );
                self.put("another base", scaled, &[self.text[scaled] & !7 | 7]);
                self.put("a base that is no address", place.at, &[rex & !1]);
                if size == 4 {
                    self.put("an access that is wider", place.at, &[rex | 8]);
                }
                if mem.disp != 0 {
                    let outside = mem.disp.wrapping_add(MEMORY as i32);
                    self.displaced("an access behind memory", place, mem.disp, outside);
                }
            }
            (14, None) if mem.disp > 0x1000 => {
                self.displaced("a place behind memory", place, mem.disp, MEMORY as i32 - 4);
                self.displaced("a place before memory", place, mem.disp, -8);
            }
            (13 | 11, None) if i8::try_from(mem.disp).is_err() => {
                self.displaced("a place behind the area", place, mem.disp, 0x2000);
                self.displaced("a place before the area", place, mem.disp, -0x1001);
            }
            _ => {}
        }
    }

    /// Where the sib is in an instruction with rex, an opcode of one byte or two, and modrm.
    fn sib(&self, place: &Place) -> usize {
        let bytes = &self.text[place.at..place.end()];
        let opcode = 1 + usize::from(bytes[0] == 0x66);
        opcode + 2 + usize::from(bytes[opcode] == 0x0f)
    }

    fn control(&mut self, place: &Place) {
        let Op::Go { flow, far, .. } = place.op else {
            return;
        };
        match (flow, place.callee) {
            (Flow::Call, callee) => {
                self.put("an indirect call", place.at, &[0xff, 0xd0, NOP, NOP, NOP]);
                self.put("a jump in place of a call", place.at, &[0xe9]);
                if callee.is_none() {
                    self.number("a call into a function", place, true, 1);
                    self.number("a call of a function's mark", place, true, -4);
                    self.number("a call of nowhere", place, true, 0x1000);
                }
            }
            (Flow::Jump, Some(_)) => {
                self.put(
                    "a return by the stack",
                    place.at,
                    &[0xc3, NOP, NOP, NOP, NOP],
                );
                self.put("an indirect jump", place.at, &[0xff, 0xe0, NOP, NOP, NOP]);
                self.put("a call in place of a jump", place.at, &[0xe8]);
                self.missing("no return", place);
            }
            (_, _) => {
                self.number("a jump into an instruction", place, far, 1);
                if far {
                    self.number("a jump out of the function", place, true, 0x1000);
                }
            }
        }
    }

    fn others(&mut self, place: &Place) {
        match place.op {
            Op::Push(RBP) => self.put("another register is saved", place.at, &[0x53]),
            Op::Pop(RBP) => self.put("another register is restored", place.at, &[0x5b]),
            Op::Leave => {
                self.missing("the frame stays", place);
                self.put("the frame stays, and a word goes", place.at, &[0x5d]);
            }
            Op::Undefined => self.missing("a trap that goes on", place),
            Op::Sign { .. } => self.missing("a dividend without its sign", place),
            Op::Shift {
                by: crate::insn::Count::Imm(by),
                wide: true,
                kind: crate::insn::Shift::Ror,
                ..
            } => {
                self.put("a wider operand's alignment", place.end() - 1, &[by + 1]);
                self.put("no alignment", place.end() - 1, &[by - 1]);
                self.missing("no rotation", place);
            }
            Op::Imm { value, .. } if value == abi::layout::guest_ptr(0).wrapping_neg() => {
                self.number("another tag", place, true, 1);
            }
            Op::Load {
                to: RDI,
                from: Rm::Reg(15),
                ..
            } => {
                self.put("a call with another vm", place.at, &[0x49, 0x8b, 0xfe]);
            }
            Op::Load {
                to: RAX,
                from: Rm::Reg(RAX),
                size: 4,
                wide: false,
                ..
            } => {
                // From the frame it is read as what it is.
                let next = decode(&self.text[place.end()..]).expect("honest").op;
                if self.memory(next).is_none_or(|(mem, ..)| mem.base != RBP) {
                    self.missing("a result that is not narrow", place);
                }
            }
            _ => {}
        }
    }
}

fn faults(image: &Image<'_>) -> Vec<Fault> {
    let text = image.text;
    let mut faults = Faults {
        text,
        list: Vec::new(),
    };
    for place in places(image) {
        faults.branches(&place);
        faults.arithmetic(&place);
        faults.accesses(&place);
        faults.control(&place);
        faults.others(&place);
    }
    for at in 0..text.len() {
        if text[at..].starts_with(&[0xf3, 0x0f, 0x1e, 0xfa]) {
            faults.put("no mark", at, &[NOP; 4]);
            faults.put("filler in a mark", at + 3, &[0xcc]);
        }
    }
    faults.list
}

fn verdict(bytes: &[u8]) -> Result<crate::Proven, crate::Refusal> {
    crate::check(&Image::read(bytes).expect("an image"), &mut || false)
}

#[test]
fn each_fault_of_a_compiler_is_refused() {
    let bytes = honest();
    let image = Image::read(&bytes).unwrap();
    if let Err(refusal) = verdict(&bytes) {
        panic!("{refusal}");
    }
    let begin = bytes.len() - image.text.len();
    let (mut kinds, mut passed) = (BTreeMap::<&str, u32>::new(), Vec::<String>::new());
    for fault in faults(&image) {
        let mut mutant = bytes.clone();
        let at = begin + fault.at;
        if mutant[at..at + fault.bytes.len()] == fault.bytes[..] {
            continue;
        }
        mutant[at..at + fault.bytes.len()].copy_from_slice(&fault.bytes);
        *kinds.entry(fault.name).or_default() += 1;
        if verdict(&mutant).is_ok() {
            passed.push(format!("{} at {:#x}", fault.name, fault.at));
        }
    }
    let count: u32 = kinds.values().sum();
    std::println!("{count} faults of {} kinds: {kinds:#?}", kinds.len());
    assert!(passed.is_empty(), "{passed:#?}");
    assert!(kinds.len() >= 60, "{} kinds", kinds.len());
}

#[test]
fn tables_that_say_otherwise_are_refused() {
    let bytes = honest();
    let image = Image::read(&bytes).unwrap();
    let words = |value: (u32, u32)| [value.0.to_le_bytes(), value.1.to_le_bytes()].concat();
    let find = |words: &[u8]| bytes.windows(words.len()).position(|w| w == words).unwrap();
    let mut tried = 0;
    for (at, callee) in image.calls() {
        let place = find(&words((at, callee)));
        let others = match callee {
            TRAP => [(at, RETURN), (at + 1, TRAP), (at - 1, TRAP)],
            RETURN => [(at, TRAP), (at + 1, RETURN), (at, IMPORTS)],
            import => [(at, RETURN), (at + 1, import), (at - 4, import)],
        };
        for other in others {
            let mut mutant = bytes.clone();
            mutant[place..place + 8].copy_from_slice(&words(other));
            assert!(verdict(&mutant).is_err(), "{at:#x} {callee} {other:?}");
            tried += 1;
        }
    }
    for program in image.programs() {
        let place = find(&words((program.entry, program.context)));
        for entry in [program.entry + 1, program.entry + 4, program.entry - 1, 0] {
            let mut mutant = bytes.clone();
            mutant[place..place + 4].copy_from_slice(&entry.to_le_bytes());
            assert!(verdict(&mutant).is_err(), "{entry:#x}");
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

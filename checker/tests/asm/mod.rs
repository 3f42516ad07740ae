//! A small assembler, so that tests read as code does; and images of what it makes.
//!
//! Intel's syntax, one instruction a line or between semicolons, `name:` for a label. Registers tell how wide an operation
//! is, or `byte`, `word`, `dword`, `qword` in front of a place in memory. `call f1` calls function 1 of the text, `call i0`
//! import 0, `call trap`, `jmp return`; `db 90 90` are bytes.
#![allow(dead_code, reason = "each test file takes a part of it")]

use std::collections::HashMap;

use abi::native::{DIGEST, IMPORTS, Image, MAGIC, NONE, RETURN, TRAP, VERSION};

const REGISTERS: [&str; 16] = [
    "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "8", "9", "10", "11", "12", "13", "14", "15",
];
const CONDITIONS: [&str; 16] = [
    "o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g",
];
const ALU: [&str; 8] = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];

#[derive(Clone, Copy, Debug)]
enum Operand<'a> {
    Reg(u8, u8),
    Mem {
        base: u8,
        index: Option<(u8, u8)>,
        disp: i32,
        size: u8,
    },
    Imm(i64),
    Name(&'a str),
}

/// A register's number and bytes.
fn register(name: &str) -> Option<(u8, u8)> {
    let find = |short: &str| REGISTERS.iter().position(|r| *r == short).map(|r| r as u8);
    let tail = name.strip_prefix('r');
    if let Some(tail) = tail {
        for (suffix, size) in [("d", 4), ("w", 2), ("b", 1)] {
            if let Some(number) = tail.strip_suffix(suffix)
                && number.parse::<u8>().is_ok()
            {
                return Some((find(number)?, size));
            }
        }
        return Some((find(tail)?, 8));
    }
    if let Some(tail) = name.strip_prefix('e') {
        return Some((find(tail).filter(|r| *r < 8)?, 4));
    }
    let byte = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"];
    if let Some(number) = byte.iter().position(|b| *b == name) {
        return Some((number as u8, 1));
    }
    Some((find(name).filter(|r| *r < 8)?, 2))
}

fn number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1i128, rest),
        None => (1, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok()?,
        None => digits.parse::<i128>().ok()?,
    };
    Some((sign * value) as i64)
}

fn memory(text: &str, size: u8) -> Operand<'_> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let inner = inner.unwrap_or_else(|| panic!("no place: {text}"));
    let (mut base, mut index, mut disp) = (None, None, 0);
    for part in inner.replace('-', "+-").split('+').map(str::trim) {
        if part.is_empty() {
            continue;
        }
        if let Some((name, scale)) = part.split_once('*') {
            let shift = scale.trim().parse::<u8>().unwrap().trailing_zeros();
            index = Some((register(name.trim()).unwrap().0, shift as u8));
        } else if let Some((r, _)) = register(part) {
            match base {
                None => base = Some(r),
                Some(_) => index = Some((r, 0)),
            }
        } else {
            disp += number(part).unwrap_or_else(|| panic!("no place: {text}")) as i32;
        }
    }
    Operand::Mem {
        base: base.expect("a base"),
        index,
        disp,
        size,
    }
}

fn operand(text: &str) -> Operand<'_> {
    for (name, size) in [("byte ", 1), ("word ", 2), ("dword ", 4), ("qword ", 8)] {
        if let Some(rest) = text.strip_prefix(name) {
            return memory(rest.trim(), size);
        }
    }
    if text.starts_with('[') {
        return memory(text, 0);
    }
    match (register(text), number(text)) {
        (Some((r, size)), _) => Operand::Reg(r, size),
        (_, Some(value)) => Operand::Imm(value),
        _ => Operand::Name(text),
    }
}

/// What a text is made of.
#[derive(Default)]
pub(crate) struct Text {
    pub(crate) bytes: Vec<u8>,
    pub(crate) calls: Vec<(u32, u32)>,
    /// Where functions begin, behind their mark.
    pub(crate) starts: Vec<u32>,
    own: Vec<(u32, usize)>,
    labels: HashMap<String, u32>,
    jumps: Vec<(u32, String)>,
}

impl Text {
    /// Adds a function.
    pub(crate) fn function(&mut self, code: &str) {
        let start = (self.bytes.len() + 4).next_multiple_of(16);
        self.bytes.resize(start - 4, 0xcc);
        self.bytes.extend([0xf3, 0x0f, 0x1e, 0xfa]);
        self.starts.push(start as u32);
        for line in code.split(['\n', ';']).map(str::trim) {
            let mut line = line;
            while let Some((label, rest)) = line.split_once(':') {
                let here = self.bytes.len() as u32;
                self.labels.insert(label.to_owned(), here);
                line = rest.trim();
            }
            if !line.is_empty() {
                self.instruction(line);
            }
        }
        for (at, label) in std::mem::take(&mut self.jumps) {
            let to = self.labels[&label];
            self.patch(at, to);
        }
        self.labels.clear();
    }

    fn patch(&mut self, at: u32, to: u32) {
        let by = to.wrapping_sub(at + 4).to_le_bytes();
        self.bytes[at as usize..at as usize + 4].copy_from_slice(&by);
    }

    fn instruction(&mut self, line: &str) {
        let (mnemonic, rest) = line.split_once(' ').unwrap_or((line, ""));
        if mnemonic == "lock" {
            self.bytes.push(0xf0);
            return self.instruction(rest.trim());
        }
        if mnemonic == "db" {
            let bytes = rest.split_whitespace();
            return self
                .bytes
                .extend(bytes.map(|b| u8::from_str_radix(b, 16).unwrap()));
        }
        let operands: Vec<Operand<'_>> = rest
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(operand)
            .collect();
        self.encode(mnemonic, &operands);
    }

    /// A modrm form: `reg` and a register or place.
    fn form(&mut self, size: u8, op: &[u8], reg: u8, rm: Operand<'_>) {
        if size == 2 && op[0] != 0x0f {
            // In front of a lock's prefix or behind it is the same.
            self.bytes.push(0x66);
        }
        let (base, index) = match rm {
            Operand::Reg(r, _) => (r, 0),
            Operand::Mem { base, index, .. } => (base, index.map_or(0, |i| i.0)),
            other => panic!("no operand: {other:?}"),
        };
        let rex = 0x40 | u8::from(size == 8) << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;
        let needs = match rm {
            Operand::Reg(r, 1) => r >= 4,
            _ => false,
        } || size == 1 && reg >= 4;
        if rex != 0x40 || needs {
            self.bytes.push(rex);
        }
        self.bytes.extend(op);
        let reg = (reg & 7) << 3;
        match rm {
            Operand::Mem {
                base, index, disp, ..
            } => {
                let index = index.map(|(r, shift)| shift << 6 | (r & 7) << 3);
                match index.or((base & 7 == 4).then_some(0x20)) {
                    Some(sib) => self.bytes.extend([0x84 | reg, sib | base & 7]),
                    None => self.bytes.push(0x80 | reg | base & 7),
                }
                self.bytes.extend(disp.to_le_bytes());
            }
            _ => self.bytes.push(0xc0 | reg | base & 7),
        }
    }

    fn imm32(&mut self, value: i64) {
        self.bytes.extend((value as i32).to_le_bytes());
    }

    fn go(&mut self, name: &str) {
        let at = self.bytes.len() as u32;
        self.imm32(0);
        let digits = |prefix| {
            name.strip_prefix(prefix)
                .and_then(|n: &str| n.parse::<u32>().ok())
        };
        match (name, digits("i"), digits("f")) {
            ("trap", ..) => self.calls.push((at, TRAP)),
            ("return", ..) => self.calls.push((at, RETURN)),
            (_, Some(import), _) => self.calls.push((at, IMPORTS + import)),
            (.., Some(function)) => self.own.push((at, function as usize)),
            _ => self.jumps.push((at, name.to_owned())),
        }
    }

    fn encode(&mut self, mnemonic: &str, operands: &[Operand<'_>]) {
        use Operand::{Imm, Mem, Name, Reg};
        if let Some(op) = ALU.iter().position(|name| *name == mnemonic) {
            let op = op as u8;
            return match *operands {
                [Reg(to, size), from @ (Reg(..) | Mem { .. })] => {
                    self.form(size, &[op << 3 | 3], to, from);
                }
                [to @ Mem { .. }, Reg(from, size)] => self.form(size, &[op << 3 | 1], from, to),
                [to @ (Reg(_, size) | Mem { size, .. }), Imm(value)] => {
                    self.form(size, &[0x81], op, to);
                    self.imm32(value);
                }
                _ => panic!("{mnemonic} {operands:?}"),
            };
        }
        let condition = |prefix: &str| {
            let name = mnemonic.strip_prefix(prefix)?;
            CONDITIONS
                .iter()
                .position(|cc| *cc == name)
                .map(|cc| cc as u8)
        };
        match (mnemonic, operands) {
            ("ret", []) => self.bytes.push(0xc3),
            ("nop", []) => self.bytes.push(0x90),
            ("leave", []) => self.bytes.push(0xc9),
            ("ud2", []) => self.bytes.extend([0x0f, 0x0b]),
            ("cdq", []) => self.bytes.push(0x99),
            ("cqo", []) => self.bytes.extend([0x48, 0x99]),
            ("push", [Reg(r, 8)]) => self.short(0x50, *r),
            ("pop", [Reg(r, 8)]) => self.short(0x58, *r),
            ("jmp", [Name(name)]) => {
                self.bytes.push(0xe9);
                self.go(name);
            }
            ("call", [Name(name)]) => {
                self.bytes.push(0xe8);
                self.go(name);
            }
            ("call", [to @ Reg(..)]) => self.form(4, &[0xff], 2, *to),
            ("jmp", [to @ Reg(..)]) => self.form(4, &[0xff], 4, *to),
            ("movabs", [Reg(r, 8), Imm(value)]) => {
                self.bytes.extend([0x48 | r >> 3, 0xb8 | r & 7]);
                self.bytes.extend(value.to_le_bytes());
            }
            ("mov", [Reg(r, 4), Imm(value)]) => {
                self.short(0xb8, *r);
                self.imm32(*value);
            }
            ("mov", [to @ Reg(_, 8), Imm(value)]) => {
                self.form(8, &[0xc7], 0, *to);
                self.imm32(*value);
            }
            ("mov", [Reg(to, size @ (4 | 8)), from]) => self.form(*size, &[0x8b], *to, *from),
            ("mov", [to, Reg(from, size)]) => {
                self.form(*size, &[if *size == 1 { 0x88 } else { 0x89 }], *from, *to);
            }
            ("mov", [to @ Mem { size, .. }, Imm(value)]) => {
                self.form(*size, &[if *size == 1 { 0xc6 } else { 0xc7 }], 0, *to);
                let bytes = (*value as i32).to_le_bytes();
                self.bytes.extend(&bytes[..usize::from(*size).min(4)]);
            }
            ("movsxd", [Reg(to, 8), from]) => self.form(8, &[0x63], *to, *from),
            (
                "movzx" | "movsx",
                [
                    Reg(to, size),
                    from @ (Reg(_, part) | Mem { size: part, .. }),
                ],
            ) => {
                let op = 0xb6 + u8::from(*part == 2) + 8 * u8::from(mnemonic == "movsx");
                self.form(*size, &[0x0f, op], *to, *from);
            }
            ("lea", [Reg(to, size), from]) => self.form(*size, &[0x8d], *to, *from),
            ("test", [to @ Reg(_, size), Imm(value)]) => {
                self.form(*size, &[0xf7], 0, *to);
                self.imm32(*value);
            }
            ("test", [a, Reg(b, size)]) => self.form(*size, &[0x85], *b, *a),
            ("imul", [Reg(to, size), from]) => self.form(*size, &[0x0f, 0xaf], *to, *from),
            ("imul", [Reg(to, size), from, Imm(value)]) => {
                self.form(*size, &[0x69], *to, *from);
                self.imm32(*value);
            }
            ("not" | "neg" | "mul" | "div" | "idiv", [to @ Reg(_, size)]) => {
                let op = match mnemonic {
                    "not" => 2,
                    "neg" => 3,
                    "mul" => 4,
                    "div" => 6,
                    _ => 7,
                };
                self.form(*size, &[0xf7], op, *to);
            }
            ("rol" | "ror" | "shl" | "shr" | "sar", [to @ Reg(_, size), by]) => {
                let op = match mnemonic {
                    "rol" => 0,
                    "ror" => 1,
                    "shl" => 4,
                    "shr" => 5,
                    _ => 7,
                };
                match by {
                    Imm(by) => {
                        self.form(*size, &[0xc1], op, *to);
                        self.bytes.push(*by as u8);
                    }
                    _ => self.form(*size, &[0xd3], op, *to),
                }
            }
            ("xadd", [to, Reg(with, size)]) => self.form(*size, &[0x0f, 0xc1], *with, *to),
            ("cmpxchg", [to, Reg(with, size)]) => self.form(*size, &[0x0f, 0xb1], *with, *to),
            ("xchg", [to, Reg(with, size)]) => self.form(*size, &[0x87], *with, *to),
            ("bsf" | "bsr", [Reg(to, size), from]) => {
                let op = 0xbc + u8::from(mnemonic == "bsr");
                self.form(*size, &[0x0f, op], *to, *from);
            }
            (_, [Name(name)]) if condition("j").is_some() => {
                self.bytes.extend([0x0f, 0x80 | condition("j").unwrap()]);
                self.go(name);
            }
            (_, [to @ Reg(..)]) if condition("set").is_some() => {
                self.form(1, &[0x0f, 0x90 | condition("set").unwrap()], 0, *to);
            }
            (_, [Reg(to, size), from]) if condition("cmov").is_some() => {
                let op = 0x40 | condition("cmov").unwrap();
                self.form(*size, &[0x0f, op], *to, *from);
            }
            _ => panic!("{mnemonic} {operands:?}"),
        }
    }

    fn short(&mut self, op: u8, r: u8) {
        if r >= 8 {
            self.bytes.push(0x41);
        }
        self.bytes.push(op | r & 7);
    }
}

/// What an image has besides its text.
pub(crate) struct Tables {
    pub(crate) memory: u32,
    pub(crate) imports: Vec<(u32, &'static str, &'static str)>,
    /// Functions that are programs.
    pub(crate) programs: Vec<usize>,
    pub(crate) callbacks: Vec<usize>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            memory: 0x1_0000,
            imports: vec![
                (2, "bpf", "map_lookup_elem"),
                (0, "bpf", "ktime_get_ns"),
                (3, "atomic", "add64"),
            ],
            programs: vec![0],
            callbacks: vec![],
        }
    }
}

fn put(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend((number as u32).to_le_bytes());
}

/// An image of `text`, whose own calls are linked.
pub(crate) fn image(mut text: Text, tables: &Tables) -> Vec<u8> {
    for (at, function) in std::mem::take(&mut text.own) {
        let to = text.starts[function];
        text.patch(at, to);
    }
    let mut bytes = Vec::from(MAGIC);
    put(&mut bytes, VERSION as usize);
    put(&mut bytes, tables.memory as usize);
    bytes.extend([0; 2 * DIGEST]);
    put(&mut bytes, tables.imports.len());
    for (params, module, name) in &tables.imports {
        put(&mut bytes, *params as usize);
        for name in [module, name] {
            put(&mut bytes, name.len());
            bytes.extend(name.as_bytes());
        }
    }
    let entry = |function: &usize| text.starts.get(*function).map_or(NONE, |s| s - 4);
    put(&mut bytes, tables.programs.len());
    for program in &tables.programs {
        put(&mut bytes, entry(program) as usize);
        put(&mut bytes, 0);
        put(&mut bytes, 0);
    }
    put(&mut bytes, tables.callbacks.len());
    for callback in &tables.callbacks {
        put(&mut bytes, entry(callback) as usize);
    }
    put(&mut bytes, text.calls.len());
    for (at, callee) in &text.calls {
        put(&mut bytes, *at as usize);
        put(&mut bytes, *callee as usize);
    }
    put(&mut bytes, text.bytes.len());
    bytes.extend(&text.bytes);
    bytes
}

/// An image of these functions.
pub(crate) fn assembled(functions: &[&str], tables: &Tables) -> Vec<u8> {
    let mut text = Text::default();
    for function in functions {
        text.function(function);
    }
    image(text, tables)
}

/// What the checker says of an image.
pub(crate) fn checked(bytes: &[u8]) -> Result<wprobe_checker::Proven, wprobe_checker::Refusal> {
    let image = Image::read(bytes).expect("an image");
    wprobe_checker::check(&image, &mut || false)
}

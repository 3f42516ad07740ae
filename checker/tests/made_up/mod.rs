//! Made-up modules: valid, and of all that the compiler takes.
#![allow(dead_code, reason = "each test file takes a part of it")]

use std::fmt::Write;

/// A generator of numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.word() % count as u64) as usize
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

const IMPORTS: &str = r#"
  (import "env" "memory" (memory 1))
  (import "env" "stack_base" (global $base i32))
  (import "env" "trap" (func $trap (param i32 i32)))
  (import "bpf" "map_lookup_elem" (func $lookup (param i64 i64) (result i64)))
  (import "bpf" "ktime_get_ns" (func $time (result i64)))
  (import "bpf" "get_smp_processor_id" (func $cpu (result i64)))
"#;
const ATOMICS: [&str; 6] = ["add", "or", "and", "xor", "xchg", "cmpxchg"];
const BINARY: [&str; 15] = [
    "add", "sub", "mul", "div_s", "div_u", "rem_s", "rem_u", "and", "or", "xor", "shl", "shr_s",
    "shr_u", "rotl", "rotr",
];
const COMPARED: [&str; 10] = [
    "eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u",
];

type Type = &'static str;
const TYPES: [Type; 2] = ["i32", "i64"];

struct Function {
    params: Vec<Type>,
    result: Type,
}

struct Writer<'r> {
    random: &'r mut Random,
    out: String,
    functions: &'r [Function],
    locals: Vec<Type>,
    /// Of open blocks, the innermost last, whether a branch to them takes no number along.
    labels: Vec<bool>,
    left: usize,
}

impl Writer<'_> {
    fn number(&mut self, ty: Type) {
        let value = match self.random.below(6) {
            0 => self.random.below(4) as i64,
            1 => self.random.below(0x1_0000) as i64,
            2 => -1,
            3 => 1 << self.random.below(32),
            4 if ty == "i64" => 0x5742_d000_0000_1000 + 8 * self.random.below(64) as i64,
            _ => self.random.word() as i64 >> self.random.below(64),
        };
        match ty {
            "i32" => write!(self.out, "(i32.const {}) ", value as i32).unwrap(),
            _ => write!(self.out, "(i64.const {value}) ").unwrap(),
        }
    }

    fn local(&mut self, ty: Type) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.locals.len())
            .filter(|l| self.locals[*l] == ty)
            .collect();
        (!fitting.is_empty()).then(|| self.random.of(&fitting))
    }

    fn address(&mut self) {
        match self.random.below(4) {
            0 => {
                let by = self.random.below(0x3000) as i32 - 0x800;
                write!(self.out, "(i32.add (global.get $base) (i32.const {by})) ").unwrap();
            }
            1 => {
                self.out.push_str("(i32.and ");
                self.expression("i32");
                let mask = self.random.of(&[0xff, 0xff8, 0xffff, 0x1_ffff]);
                write!(self.out, "(i32.const {mask})) ").unwrap();
            }
            2 => {
                self.out.push_str("(i32.wrap_i64 ");
                self.expression("i64");
                self.out.push_str(") ");
            }
            _ => self.expression("i32"),
        }
    }

    fn offset(&mut self) -> usize {
        let far = self.random.of(&[1, 1, 64, 4096, 0x2_0000]);
        self.random.below(far)
    }

    /// Leaves a number of type `ty`.
    fn expression(&mut self, ty: Type) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return match self.local(ty) {
                Some(local) if self.random.below(2) == 0 => {
                    write!(self.out, "(local.get {local}) ").unwrap()
                }
                _ => self.number(ty),
            };
        }
        match self.random.below(15) {
            0 => self.number(ty),
            1..=3 => match self.local(ty) {
                Some(local) => write!(self.out, "(local.get {local}) ").unwrap(),
                None => self.number(ty),
            },
            4..=6 => {
                let op = self.random.of(&BINARY);
                write!(self.out, "({ty}.{op} ").unwrap();
                self.expression(ty);
                self.expression(ty);
                self.out.push_str(") ");
            }
            7 if ty == "i32" => {
                let (of, op) = (self.random.of(&TYPES), self.random.of(&COMPARED));
                write!(self.out, "({of}.{op} ").unwrap();
                self.expression(of);
                self.expression(of);
                self.out.push_str(") ");
            }
            7 => {
                let op = self.random.of(&["extend_i32_u", "extend_i32_s"]);
                write!(self.out, "(i64.{op} ").unwrap();
                self.expression("i32");
                self.out.push_str(") ");
            }
            8 if ty == "i32" => {
                self.out.push_str("(i32.wrap_i64 ");
                self.expression("i64");
                self.out.push_str(") ");
            }
            8 => {
                let (kind, width) = (self.random.of(&ATOMICS), self.random.of(&["32", "64"]));
                write!(self.out, "(call ${kind}{width} ").unwrap();
                match self.random.below(3) {
                    0 => self.expression("i64"),
                    1 => self.number("i64"),
                    _ => {
                        self.out.push_str("(i64.or (i64.const 0x5742d00000000000) ");
                        self.expression("i64");
                        self.out.push_str(") ");
                    }
                }
                self.expression("i64");
                if kind == "cmpxchg" {
                    self.expression("i64");
                }
                self.out.push_str(") ");
            }
            9 => {
                let op = match (ty, self.random.below(6)) {
                    (_, 0) => "load8_u",
                    (_, 1) => "load8_s",
                    (_, 2) => "load16_u",
                    ("i64", 3) => "load32_s",
                    ("i64", 4) => "load32_u",
                    _ => "load",
                };
                let offset = self.offset();
                write!(self.out, "({ty}.{op} offset={offset} ").unwrap();
                self.address();
                self.out.push_str(") ");
            }
            10 => {
                self.out.push_str("(select ");
                self.expression(ty);
                self.expression(ty);
                self.expression("i32");
                self.out.push_str(") ");
            }
            11 => {
                let op = self
                    .random
                    .of(&["clz", "ctz", "popcnt", "extend8_s", "extend16_s"]);
                write!(self.out, "({ty}.{op} ").unwrap();
                self.expression(ty);
                self.out.push_str(") ");
            }
            12 => {
                write!(self.out, "(if (result {ty}) ").unwrap();
                self.expression("i32");
                self.labels.push(false);
                for part in ["then", "else"] {
                    write!(self.out, "({part} ").unwrap();
                    self.statement();
                    self.expression(ty);
                    self.out.push_str(") ");
                }
                self.labels.pop();
                self.out.push_str(") ");
            }
            13 if ty == "i64" => match self.random.below(3) {
                0 => self.out.push_str("(call $time) "),
                1 => self.out.push_str("(call $cpu) "),
                _ => {
                    self.out.push_str("(call $lookup ");
                    self.expression("i64");
                    self.expression("i64");
                    self.out.push_str(") ");
                }
            },
            _ => {
                let fitting: Vec<usize> = (0..self.functions.len())
                    .filter(|f| self.functions[*f].result == ty)
                    .collect();
                if fitting.is_empty() {
                    return self.number(ty);
                }
                let function = self.random.of(&fitting);
                write!(self.out, "(call $f{function} ").unwrap();
                for param in &self.functions[function].params {
                    self.expression(param);
                }
                self.out.push_str(") ");
            }
        }
    }

    /// How far out a block is that a branch takes nothing along to; there is one.
    fn target(&mut self) -> usize {
        let labels = self.labels.iter().rev().enumerate();
        let fitting: Vec<usize> = labels
            .filter(|(_, fits)| **fits)
            .map(|(at, _)| at)
            .collect();
        self.random.of(&fitting)
    }

    fn branch(&mut self) {
        if self.labels.contains(&true) {
            let to = self.target();
            write!(self.out, "(br_if {to} ").unwrap();
            self.expression("i32");
            self.out.push_str(") ");
        }
    }

    fn statement(&mut self) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return;
        }
        match self.random.below(10) {
            0..=3 => {
                let local = self.random.below(self.locals.len());
                write!(self.out, "(local.set {local} ").unwrap();
                self.expression(self.locals[local]);
                self.out.push_str(") ");
            }
            4 => {
                let ty = self.random.of(&TYPES);
                let op = match (ty, self.random.below(4)) {
                    (_, 0) => "store8",
                    (_, 1) => "store16",
                    ("i64", 2) => "store32",
                    _ => "store",
                };
                let offset = self.offset();
                write!(self.out, "({ty}.{op} offset={offset} ").unwrap();
                self.address();
                self.expression(ty);
                self.out.push_str(") ");
            }
            5 => {
                self.out.push_str("(if ");
                self.expression("i32");
                self.labels.push(true);
                self.out.push_str("(then ");
                self.statement();
                self.statement();
                self.out.push_str(") ");
                if self.random.below(2) == 0 {
                    self.out.push_str("(else ");
                    self.statement();
                    self.out.push_str(") ");
                }
                self.labels.pop();
                self.out.push_str(") ");
            }
            6 => {
                let kind = self.random.of(&["block", "loop"]);
                write!(self.out, "({kind} ").unwrap();
                self.labels.push(true);
                for _ in 0..=self.random.below(4) {
                    self.statement();
                }
                if self.random.below(3) > 0 {
                    self.branch();
                }
                self.labels.pop();
                self.out.push_str(") ");
            }
            7 => self.branch(),
            8 => {
                self.out.push_str("(if ");
                self.expression("i32");
                self.labels.push(true);
                self.out.push_str("(then (br_table ");
                for _ in 0..=self.random.below(9) {
                    let to = self.target();
                    write!(self.out, "{to} ").unwrap();
                }
                self.expression("i32");
                self.labels.pop();
                self.out.push_str("))) ");
            }
            9 if self.random.below(8) == 0 => {
                self.out.push_str("(call $trap ");
                self.expression("i32");
                self.expression("i32");
                self.out.push_str(") ");
            }
            _ => {
                let ty = self.random.of(&TYPES);
                self.out.push_str("(drop ");
                self.expression(ty);
                self.out.push_str(") ");
            }
        }
    }
}

/// A module; function 0 is its program.
pub(crate) fn module(random: &mut Random) -> Vec<u8> {
    let count = 1 + random.below(4);
    let functions: Vec<Function> = (0..count)
        .map(|index| Function {
            params: match index {
                0 => vec!["i64"],
                _ => (0..random.below(6)).map(|_| random.of(&TYPES)).collect(),
            },
            result: if index == 0 { "i64" } else { random.of(&TYPES) },
        })
        .collect();
    let mut out = String::from("(module ");
    out.push_str(IMPORTS);
    for kind in ATOMICS {
        let params = if kind == "cmpxchg" {
            "i64 i64 i64"
        } else {
            "i64 i64"
        };
        for width in ["32", "64"] {
            writeln!(
                out,
                "(import \"atomic\" \"{kind}{width}\" (func ${kind}{width} (param {params}) (result i64)))"
            )
            .unwrap();
        }
    }
    for (index, function) in functions.iter().enumerate() {
        let locals: Vec<Type> = (0..random.below(8)).map(|_| random.of(&TYPES)).collect();
        write!(out, "(func $f{index} ").unwrap();
        if index == 0 {
            out.push_str("(export \"kprobe:x:\") ");
        }
        write!(
            out,
            "(param {}) (result {}) ",
            function.params.join(" "),
            function.result
        )
        .unwrap();
        writeln!(out, "(local {})", locals.join(" ")).unwrap();
        let all = [function.params.clone(), locals].concat();
        let left = 1 + random.below(120);
        let mut writer = Writer {
            random,
            out: String::new(),
            functions: &functions,
            locals: if all.is_empty() {
                vec!["i64"]
            } else {
                all.clone()
            },
            labels: Vec::new(),
            left,
        };
        if all.is_empty() {
            out.push_str("(local i64) ");
        }
        while writer.left > 1 {
            writer.statement();
        }
        writer.expression(function.result);
        out.push_str(&writer.out);
        out.push_str(")\n");
    }
    out.push(')');
    wat::parse_str(&out).unwrap_or_else(|error| panic!("{error}\n{out}"))
}

//! Random programs: arithmetic, branches, bounded loops, frame, context, packet and map memory, subprograms, helpers on an array and a hash.
//!
//! What [`Optional`] holds comes from the instruction table, as far as the machine's kernel accepts it.

use std::fmt::Write;

use diff_tests::random::Random;

use crate::kernel::{Kind, SYSCALL};
use crate::optional::Optional;

/// Programs over packets, which lie where r6 points.
const XDP: Kind = Kind {
    section: "xdp",
    number: 6,
    flags: 0,
    packet: true,
};

/// Programs over packets that legacy loads can read: r6 is the context, and a slot of the frame holds the packet's address.
pub(crate) const TC: Kind = Kind {
    section: "tc",
    number: 3,
    flags: 0,
    packet: true,
};

/// Bytes of context.
pub(crate) const CONTEXT: usize = 64;

const ALU: &[&str] = &[
    "add", "sub", "mul", "div", "sdiv", "or", "and", "lsh", "rsh", "mod", "smod", "xor", "mov",
    "arsh",
];
const UNARY: &[&str] = &[
    "neg", "neg32", "le16", "le32", "le64", "be16", "be32", "be64", "bswap16", "bswap32", "bswap64",
];
const EXTEND: &[&str] = &["movsx8", "movsx16", "movsx32", "movsx8_32", "movsx16_32"];
const JUMPS: &[&str] = &[
    "jeq", "jgt", "jge", "jset", "jne", "jsgt", "jsge", "jlt", "jle", "jslt", "jsle",
];
const ATOMICS: &[&str] = &[
    "atomic_add",
    "atomic_or",
    "atomic_and",
    "atomic_xor",
    "atomic_fetch_add",
    "atomic_fetch_or",
    "atomic_fetch_and",
    "atomic_fetch_xor",
    "atomic_xchg",
    "atomic_cmpxchg",
];
const SIZES: &[(&str, usize)] = &[("b", 1), ("h", 2), ("w", 4), ("dw", 8)];
/// Registers that hold numbers throughout. r6 is the context, r9 the loop counter, r1 and r7 pointers for a moment.
const NUMBERS: &[u8] = &[0, 2, 3, 4, 5, 8];

/// The text of a whole program of some kind. Map 0 is an array and map 1 a hash, both of values of 32 bytes.
pub(crate) fn program(seed: u64, optional: &Optional) -> (Kind, String) {
    let kind = match seed % 6 {
        0 | 3 => XDP,
        1 => TC,
        _ => SYSCALL,
    };
    (kind, Generator::whole(kind, seed, optional))
}

/// A program under construction.
struct Generator<'a> {
    kind: Kind,
    optional: &'a Optional,
    random: Random,
    text: String,
    labels: usize,
    /// Whether this is a subprogram: no context, no calls.
    leaf: bool,
}

impl Generator<'_> {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{line}");
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("L{}", self.labels)
    }

    fn immediate(&mut self) -> i32 {
        let edges = [
            0,
            1,
            -1,
            2,
            7,
            31,
            127,
            255,
            0x7fff_ffff,
            i32::MIN,
            0x1_0000,
        ];
        if self.random.below(3) == 0 {
            self.random.word() as i32
        } else {
            self.random.pick(&edges)
        }
    }

    fn whole(kind: Kind, seed: u64, optional: &Optional) -> String {
        let mut g = Generator {
            kind,
            optional,
            random: Random(seed),
            text: String::new(),
            labels: 0,
            leaf: false,
        };
        g.enter();
        g.frame();
        let base = g.memory();
        for (i, register) in NUMBERS.iter().enumerate() {
            g.line(format_args!("ldxdw r{register}, [{base}+{}]", 8 * i));
        }
        let statements = 3 + g.random.below(25);
        g.block(statements, 2);
        let base = g.memory();
        for (i, register) in NUMBERS.iter().enumerate().skip(1) {
            g.line(format_args!("stxdw [{base}+{}], r{register}", 8 * i));
        }
        g.line(format_args!("exit"));
        if kind.packet {
            g.line(format_args!("short:\nmov r0, 0\nexit"));
        }
        if g.text.contains("callf sub") {
            g.subprogram();
        }
        g.text
    }

    /// Gets the context, or the packet that stands for it.
    fn enter(&mut self) {
        let (data, data_end) = match self.kind {
            XDP => (0, 4),
            TC => (76, 80),
            _ => return self.line(format_args!("mov r6, r1")),
        };
        self.line(format_args!(
            "ldxw r6, [r1+{data}]\nldxw r7, [r1+{data_end}]\nmov r0, r6\nadd r0, {CONTEXT}\njgt r0, r7, short"
        ));
        if self.kind == TC {
            self.line(format_args!("stxdw [r10-48], r6\nmov r6, r1"));
        }
    }

    /// The register that points to the context's bytes or the packet's.
    fn memory(&mut self) -> &'static str {
        if self.kind != TC {
            return "r6";
        }
        self.line(format_args!("ldxdw r7, [r10-48]"));
        "r7"
    }

    fn subprogram(&mut self) {
        self.leaf = true;
        self.line(format_args!("sub:"));
        self.frame();
        for (register, from) in [(0, 1), (8, 2)] {
            self.line(format_args!("mov r{register}, r{from}"));
        }
        let statements = 1 + self.random.below(8);
        self.block(statements, 1);
        self.line(format_args!("exit"));
    }

    /// Gives the frame's 32 bytes values.
    fn frame(&mut self) {
        for slot in 1..=4 {
            let value = self.immediate();
            self.line(format_args!("stdw [r10-{}], {value}", 8 * slot));
        }
    }

    fn block(&mut self, statements: usize, depth: usize) {
        for _ in 0..statements {
            let choices = match (self.leaf, self.kind) {
                (true, _) => 14,
                (false, TC) => 22,
                _ => 20,
            };
            match self.random.below(choices) {
                0..=4 => self.arithmetic(),
                5 => self.unary(),
                6..=7 => self.stack(),
                8 => self.atomic("r10"),
                9..=10 if depth > 0 => self.branch(depth),
                11 if depth > 0 => self.looped(depth),
                12 => self.pointer(),
                14..=15 => self.context(),
                16 => self.map(),
                17 => self.call(),
                18 if depth > 0 => self.two_way(depth),
                19 => self.hash(),
                20..=21 => self.packet(),
                _ => self.arithmetic(),
            }
        }
    }

    fn arithmetic(&mut self) {
        let (op, dst, src) = (
            self.random.pick(ALU),
            self.random.pick(NUMBERS),
            self.random.pick(NUMBERS),
        );
        let wide = self.random.below(2) == 0;
        let suffix = if wide { "" } else { "32" };
        if self.random.below(2) == 0 {
            return self.line(format_args!("{op}{suffix} r{dst}, r{src}"));
        }
        let imm = match op {
            "lsh" | "rsh" | "arsh" => self.random.below(if wide { 64 } else { 32 }) as i32,
            "div" | "mod" | "sdiv" | "smod" => self.immediate() | 1,
            _ => self.immediate(),
        };
        self.line(format_args!("{op}{suffix} r{dst}, {imm}"));
    }

    fn unary(&mut self) {
        let (dst, src) = (self.random.pick(NUMBERS), self.random.pick(NUMBERS));
        match self.random.below(3) {
            0 => {
                let op = self.random.pick(EXTEND);
                self.line(format_args!("{op} r{dst}, r{src}"));
            }
            1 => {
                let value = self.random.word();
                self.line(format_args!("lddw r{dst}, {value:#x}"));
            }
            _ => {
                let op = self.random.pick(UNARY);
                self.line(format_args!("{op} r{dst}"));
            }
        }
    }

    fn stack(&mut self) {
        let (size, bytes) = self.random.pick(SIZES);
        let register = self.random.pick(NUMBERS);
        let at = 32 - bytes * self.random.below(32 / bytes);
        match self.random.below(6) {
            0 => self.line(format_args!("ldx{size} r{register}, [r10-{at}]")),
            1 if bytes < 8 => self.line(format_args!("ldxs{size} r{register}, [r10-{at}]")),
            2 => {
                let imm = self.immediate();
                self.line(format_args!("st{size} [r10-{at}], {imm}"));
            }
            3 => self.line(format_args!("stx{size} [r10-{at}], r{register}")),
            _ => self.ordered("r10", -32),
        }
    }

    /// A load-acquire or store-release of something in the 32 bytes from `lowest` on.
    fn ordered(&mut self, base: &str, lowest: isize) {
        let optional = self.optional;
        let Some(name) = self.random.pick_of(&optional.ordered) else {
            return self.arithmetic();
        };
        let bits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        let bytes = bits.parse::<usize>().expect("a width") / 8;
        let at = lowest + (bytes * self.random.below(32 / bytes)) as isize;
        let register = self.random.pick(NUMBERS);
        if name.starts_with("load") {
            self.line(format_args!("{name} r{register}, [{base}{at:+}]"));
        } else {
            self.line(format_args!("{name} [{base}{at:+}], r{register}"));
        }
    }

    /// A legacy load from the packet; one beyond its end ends the program.
    fn packet(&mut self) {
        let optional = self.optional;
        let Some(name) = self.random.pick_of(&optional.packet) else {
            return self.arithmetic();
        };
        let at = self.random.below(CONTEXT - 3);
        if name.starts_with("ldabs") {
            let at = if self.random.below(16) == 0 {
                CONTEXT - 1
            } else {
                at
            };
            self.line(format_args!("{name} {at}"));
        } else {
            let register = self.random.pick(NUMBERS);
            // Negative offsets count from a header, which this runtime does not know.
            let mask = self.random.pick(&[31, 31, 31, 0x7fff_ff00]);
            self.line(format_args!("and r{register}, {mask}"));
            self.line(format_args!("{name} r{register}, {}", at / 2));
        }
        self.after_call();
    }

    /// Fetching ones stay away from the frame: Linux 6.18's verifier takes the fetched value for the constant that was
    /// spilled there on another path and removes branches that are taken.
    fn atomic(&mut self, base: &str) {
        let operations = if base == "r10" {
            &ATOMICS[..4]
        } else {
            ATOMICS
        };
        let (op, src) = (self.random.pick(operations), self.random.pick(NUMBERS));
        let bits = self.random.pick(&[32, 64]);
        let at = 8 * (1 + self.random.below(4));
        let at = if base == "r10" {
            format!("-{at}")
        } else {
            format!("+{}", at - 8)
        };
        self.line(format_args!("{op}{bits} [{base}{at}], r{src}"));
    }

    /// Frame memory through another register.
    fn pointer(&mut self) {
        let register = self.random.pick(NUMBERS);
        let down = 8 * (1 + self.random.below(4));
        self.line(format_args!("mov r7, r10\nadd r7, -{down}"));
        match self.random.below(3) {
            0 => self.line(format_args!("ldxw r{register}, [r7+4]")),
            1 => self.line(format_args!("stxdw [r7+0], r{register}")),
            _ => self.line(format_args!("stxb [r7+3], r{register}")),
        }
    }

    fn context(&mut self) {
        let (size, bytes) = self.random.pick(SIZES);
        let register = self.random.pick(NUMBERS);
        let at = bytes * self.random.below(CONTEXT / bytes);
        let base = self.memory();
        if self.random.below(2) == 0 {
            self.line(format_args!("ldx{size} r{register}, [{base}+{at}]"));
        } else {
            self.line(format_args!("stx{size} [{base}+{at}], r{register}"));
        }
    }

    fn condition(&mut self, target: &str) {
        let (op, a, b) = (
            self.random.pick(JUMPS),
            self.random.pick(NUMBERS),
            self.random.pick(NUMBERS),
        );
        let suffix = self.random.pick(&["", "32"]);
        if self.random.below(2) == 0 {
            self.line(format_args!("{op}{suffix} r{a}, r{b}, {target}"));
        } else {
            let imm = self.immediate();
            self.line(format_args!("{op}{suffix} r{a}, {imm}, {target}"));
        }
    }

    /// Forward jumps that may cross each other.
    fn branch(&mut self, depth: usize) {
        let (first, second) = (self.label(), self.label());
        self.condition(&first);
        let statements = 1 + self.random.below(3);
        self.block(statements, depth - 1);
        if self.random.below(2) == 0 {
            self.condition(&second);
        }
        self.block(1, depth - 1);
        self.line(format_args!("{first}:"));
        self.block(1, depth - 1);
        self.line(format_args!("{second}:"));
    }

    fn two_way(&mut self, depth: usize) {
        let (other, end) = (self.label(), self.label());
        self.condition(&other);
        self.block(2, depth - 1);
        let jump = self.random.pick(&["ja", "gotol"]);
        self.line(format_args!("{jump} {end}\n{other}:"));
        self.block(2, depth - 1);
        self.line(format_args!("{end}:"));
    }

    fn looped(&mut self, depth: usize) {
        let (head, exit) = (self.label(), self.label());
        let rounds = 1 + self.random.below(4);
        self.line(format_args!("mov r9, {rounds}\n{head}:"));
        // Its own bound is millions of rounds away.
        if self.optional.may_goto && self.random.below(2) == 0 {
            self.line(format_args!("may_goto {exit}"));
        }
        self.block(2, 0);
        if self.random.below(2) == 0 {
            self.condition(&exit);
        }
        self.block(1, depth.min(1) - 1);
        self.line(format_args!("sub r9, 1\njne r9, 0, {head}\n{exit}:"));
    }

    /// Gives the registers that a call leaves undefined values again.
    fn after_call(&mut self) {
        for register in 2..=5 {
            let value = self.immediate();
            self.line(format_args!("mov r{register}, {value}"));
        }
    }

    fn map(&mut self) {
        let end = self.label();
        let key = self.random.below(6);
        self.line(format_args!(
            "stw [r10-40], {key}\nlddw r1, map#0\nmov r2, r10\nadd r2, -40\ncall map_lookup_elem"
        ));
        self.after_call();
        self.line(format_args!("mov r7, r0\nmov r0, 5\njeq r7, 0, {end}"));
        match self.random.below(4) {
            0 => self.line(format_args!("ldxdw r0, [r7+8]")),
            1 => self.line(format_args!("stxdw [r7+16], r8")),
            2 => self.ordered("r7", 0),
            _ => self.atomic("r7"),
        }
        self.line(format_args!("{end}:"));
    }

    fn hash(&mut self) {
        let key = self.random.below(6);
        self.line(format_args!(
            "stw [r10-40], {key}\nlddw r1, map#1\nmov r2, r10\nadd r2, -40"
        ));
        match self.random.below(3) {
            0 => {
                let end = self.label();
                self.line(format_args!("call map_lookup_elem"));
                self.after_call();
                self.line(format_args!("mov r7, r0\nmov r0, 5\njeq r7, 0, {end}"));
                self.line(format_args!("ldxdw r0, [r7+8]\nstxdw [r7+24], r8\n{end}:"));
            }
            1 => {
                let flags = self.random.below(4);
                self.line(format_args!(
                    "mov r3, r10\nadd r3, -32\nmov r4, {flags}\ncall map_update_elem"
                ));
                self.after_call();
            }
            _ => {
                self.line(format_args!("call map_delete_elem"));
                self.after_call();
            }
        }
    }

    fn call(&mut self) {
        self.line(format_args!(
            "mov r1, r8
callf sub"
        ));
        self.after_call();
    }
}

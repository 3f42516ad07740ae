//! The instruction table: one row per (class, operation), in the order of RFC 9669.
//!
//! Columns: mnemonic, opcode bits, the values the fields may have, operand form, lowering shape with
//! its edge rules, ISA level (clang's `-mcpu=v1`…`v4`). Facts: RFC 9669 and, for what came after it
//! (`may_goto`, load-acquire, store-release, address spaces), the kernel's `include/uapi/linux/bpf.h`.
//!
//! **To add an instruction**: add its row; if its shape is new, add the shape here and one function
//! in `lower/`. The filetest coverage test then asks for a file.

use abi::imports::AtomicOp;
use wasm_encoder::Instruction as W;

/// Instruction classes (low three bits of the opcode).
pub(crate) mod class {
    pub(crate) const LD: u8 = 0;
    pub(crate) const LDX: u8 = 1;
    pub(crate) const ST: u8 = 2;
    pub(crate) const STX: u8 = 3;
    pub(crate) const ALU: u8 = 4;
    pub(crate) const JMP: u8 = 5;
    pub(crate) const JMP32: u8 = 6;
    pub(crate) const ALU64: u8 = 7;
}

/// Source bit of arithmetic and jumps: immediate.
pub(crate) const K: u8 = 0x00;
/// Source bit of arithmetic and jumps: register.
pub(crate) const X: u8 = 0x08;
/// Size bits of loads and stores.
const W4: u8 = 0x00;
const H2: u8 = 0x08;
const B1: u8 = 0x10;
const D8: u8 = 0x18;

const KX: &[u8] = &[K, X];
const ALUS: &[u8] = &[class::ALU, class::ALU64];
const JMPS: &[u8] = &[class::JMP, class::JMP32];
const SIZES: &[u8] = &[B1, H2, W4, D8];

/// Which values a field may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// Any: it is an operand.
    Any,
    /// This one alone; it tells rows apart or must be zero.
    Is(i32),
}
use Field::{Any, Is};

const ZERO: Field = Is(0);

/// How operands are written and which fields hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `add r1, r2` and `add32 r1, -4`.
    Binary,
    /// `neg r1`.
    Unary,
    /// `lddw r1, 0x1122334455667788`, or a named thing.
    Wide,
    /// `ldxw r1, [r2+4]`.
    Load,
    /// `stw [r1+4], 7`.
    StoreImm,
    /// `stxw [r1+4], r2`.
    StoreReg,
    /// `atomic_add64 [r1+4], r2`.
    Atomic,
    /// `load_acquire64 r1, [r2+4]`.
    AtomicLoad,
    /// `jeq r1, r2, target`.
    Branch,
    /// `ja target`, the distance in `off`.
    Near,
    /// `gotol target`, the distance in `imm`.
    Far,
    /// `call name`.
    Call,
    /// `exit`.
    Bare,
    /// `ldabsw 12`.
    PacketAbs,
    /// `ldindw r1, 12`.
    PacketInd,
}

/// What division by zero gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnZero {
    /// Zero.
    Zero,
    /// The dividend, cut to the operation's width.
    KeepDst,
}

/// How an instruction becomes wasm. `lower/` has one function for each.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// One wasm instruction for each width. Wasm masks shift amounts as BPF does.
    Binary(W<'static>, W<'static>),
    /// The same, but wasm would trap on zero and (`min_neg1`: on MIN / -1, which gives MIN).
    Divide {
        narrow: W<'static>,
        wide: W<'static>,
        on_zero: OnZero,
        min_neg1: bool,
    },
    /// Two's complement negation.
    Negate,
    /// Copy of a register or immediate.
    Move,
    /// Copy of a register's low bits, sign-extended.
    MoveSigned(u32),
    /// Cut to this many bits (little-endian target, little-endian order asked for).
    Truncate(u32),
    /// Reverse this many bits' bytes and cut.
    Swap(u32),
    /// A 64-bit constant, or the address of something.
    Constant,
    /// Load from memory, zero-extended or (`true`) sign-extended.
    Load(bool),
    /// Store of a register or immediate.
    Store,
    /// Atomic read-modify-write; `true`: the old value goes to the source register (to r0 for cmpxchg).
    Atomic(AtomicOp, bool),
    /// Conditional jump on a comparison.
    Compare(W<'static>, W<'static>),
    /// Conditional jump on `dst & src != 0`.
    Test,
    /// Unconditional jump.
    Goto,
    /// Falls through until the loop budget is used up, then jumps.
    MayGoto,
    /// Call of a helper.
    Helper,
    /// Call of a function of the same object.
    Local,
    /// Call of a kernel function.
    Kfunc,
    /// Return of r0.
    Exit,
    /// Load from the packet, which ends the program if it is too short.
    Packet,
    /// Never translated: an address-space cast.
    Arena,
    /// Never translated: a call through a register.
    CallRegister,
}

/// The smallest `-mcpu` that has the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Original.
    V1,
    /// `jlt` and its like.
    V2,
    /// 32-bit jumps, fetching atomics.
    V3,
    /// Signed division, sign extension, byte swaps, far jumps and what came after.
    V4,
}
use Level::{V1, V2, V3, V4};

/// One row: an operation in all its widths and operand kinds.
#[derive(Debug)]
pub(crate) struct Row {
    /// Without the width suffix that [`super::disasm::mnemonic`] adds.
    pub(crate) mnemonic: &'static str,
    /// Operation bits of the opcode.
    pub(crate) code: u8,
    /// The classes it exists in.
    pub(crate) classes: &'static [u8],
    /// The source or size bits it exists with.
    pub(crate) low: &'static [u8],
    /// Source register field, where it selects the row; otherwise the form says what it holds.
    pub(crate) src: Field,
    /// Offset field.
    pub(crate) off: Field,
    /// Immediate field (of the immediate form, where there is a register form too).
    pub(crate) imm: Field,
    /// Operand form.
    pub(crate) form: Form,
    /// Lowering shape.
    pub(crate) shape: Shape,
    /// ISA level.
    pub(crate) level: Level,
}

impl Row {
    /// Whether `opcode` is one of this row's.
    pub(crate) const fn has(&self, opcode: u8) -> bool {
        let (class, low) = (opcode & 7, opcode & 0x18 & self.low_mask());
        opcode & !7 & !self.low_mask() == self.code & !self.low_mask()
            && contains(self.classes, class)
            && contains(self.low, low)
    }

    /// Every opcode of this row.
    pub(crate) fn opcodes(&self) -> impl Iterator<Item = u8> {
        let of_class = move |class: &u8| {
            self.low.iter().map({
                let class = *class;
                move |low| self.code | class | low
            })
        };
        self.classes.iter().flat_map(of_class)
    }

    /// The opcode bits that select operand source or size.
    const fn low_mask(&self) -> u8 {
        match self.classes[0] {
            class::LD | class::LDX | class::ST | class::STX => 0x18,
            _ => 0x08,
        }
    }
}

const fn contains(set: &[u8], value: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == value {
            return true;
        }
        i += 1;
    }
    false
}

/// Arithmetic in both widths, register or immediate.
const fn alu(mnemonic: &'static str, code: u8, off: i32, shape: Shape, level: Level) -> Row {
    let (src, off, form) = (Any, Is(off), Form::Binary);
    Row {
        mnemonic,
        code,
        classes: ALUS,
        low: KX,
        src,
        off,
        imm: Any,
        form,
        shape,
        level,
    }
}

/// A sign-extending move, register only.
const fn movsx(mnemonic: &'static str, classes: &'static [u8], bits: i32, level: Level) -> Row {
    let (off, form, shape) = (Is(bits), Form::Binary, Shape::MoveSigned(bits as u32));
    Row {
        mnemonic,
        code: 0xb0,
        classes,
        low: &[X],
        src: Any,
        off,
        imm: ZERO,
        form,
        shape,
        level,
    }
}

/// A byte-order operation; its width is the immediate.
const fn end(
    mnemonic: &'static str,
    class: &'static [u8],
    low: &'static [u8],
    bits: i32,
    shape: Shape,
    level: Level,
) -> Row {
    let (imm, form) = (Is(bits), Form::Unary);
    Row {
        mnemonic,
        code: 0xd0,
        classes: class,
        low,
        src: ZERO,
        off: ZERO,
        imm,
        form,
        shape,
        level,
    }
}

/// A conditional jump in both widths, register or immediate.
const fn jump(mnemonic: &'static str, code: u8, shape: Shape, level: Level) -> Row {
    let form = Form::Branch;
    Row {
        mnemonic,
        code,
        classes: JMPS,
        low: KX,
        src: Any,
        off: Any,
        imm: Any,
        form,
        shape,
        level,
    }
}

/// Any other member of a jump class.
const fn control(
    mnemonic: &'static str,
    opcode: u8,
    src: Field,
    fields: (Field, Field),
    form: Form,
    shape: Shape,
    level: Level,
) -> Row {
    let (classes, low): (&[u8], &[u8]) = (
        if opcode & 7 == class::JMP {
            &[class::JMP]
        } else {
            &[class::JMP32]
        },
        if opcode & X == 0 { &[K] } else { &[X] },
    );
    let (off, imm) = fields;
    Row {
        mnemonic,
        code: opcode & 0xf0,
        classes,
        low,
        src,
        off,
        imm,
        form,
        shape,
        level,
    }
}

/// A load or store; `low` lists its sizes.
const fn memory(
    mnemonic: &'static str,
    code: u8,
    classes: &'static [u8],
    low: &'static [u8],
    form: Form,
    shape: Shape,
    level: Level,
) -> Row {
    let imm = match form {
        Form::StoreImm => Any,
        _ => ZERO,
    };
    Row {
        mnemonic,
        code,
        classes,
        low,
        src: Any,
        off: Any,
        imm,
        form,
        shape,
        level,
    }
}

/// An atomic operation; the immediate selects it.
const fn atomic(mnemonic: &'static str, imm: i32, op: AtomicOp, fetch: bool, level: Level) -> Row {
    let (form, shape, low) = (Form::Atomic, Shape::Atomic(op, fetch), &[W4, D8]);
    Row {
        mnemonic,
        code: 0xc0,
        classes: &[class::STX],
        low,
        src: Any,
        off: Any,
        imm: Is(imm),
        form,
        shape,
        level,
    }
}

/// A load-acquire or store-release.
const fn ordered(mnemonic: &'static str, imm: i32, form: Form, shape: Shape) -> Row {
    let (classes, imm) = (&[class::STX], Is(imm));
    Row {
        mnemonic,
        code: 0xc0,
        classes,
        low: SIZES,
        src: Any,
        off: Any,
        imm,
        form,
        shape,
        level: V4,
    }
}

/// A legacy packet load.
const fn packet(mnemonic: &'static str, code: u8, src: Field, form: Form) -> Row {
    let (classes, low, shape) = (&[class::LD], &[B1, H2, W4], Shape::Packet);
    Row {
        mnemonic,
        code,
        classes,
        low,
        src,
        off: ZERO,
        imm: Any,
        form,
        shape,
        level: V1,
    }
}

use Shape::{Binary, Compare, Divide, Load, Swap, Truncate};

const fn unsigned(narrow: W<'static>, wide: W<'static>, on_zero: OnZero) -> Shape {
    Divide {
        narrow,
        wide,
        on_zero,
        min_neg1: false,
    }
}

/// The table.
#[rustfmt::skip]
pub(crate) static ROWS: &[Row] = &[
    // RFC 9669 section 4.1: arithmetic
    alu("add",   0x00, 0, Binary(W::I32Add, W::I64Add), V1),
    alu("sub",   0x10, 0, Binary(W::I32Sub, W::I64Sub), V1),
    alu("mul",   0x20, 0, Binary(W::I32Mul, W::I64Mul), V1),
    alu("div",   0x30, 0, unsigned(W::I32DivU, W::I64DivU, OnZero::Zero), V1),
    alu("sdiv",  0x30, 1, Divide { narrow: W::I32DivS, wide: W::I64DivS, on_zero: OnZero::Zero, min_neg1: true }, V4),
    alu("or",    0x40, 0, Binary(W::I32Or, W::I64Or), V1),
    alu("and",   0x50, 0, Binary(W::I32And, W::I64And), V1),
    alu("lsh",   0x60, 0, Binary(W::I32Shl, W::I64Shl), V1),
    alu("rsh",   0x70, 0, Binary(W::I32ShrU, W::I64ShrU), V1),
    Row { mnemonic: "neg", code: 0x80, classes: ALUS, low: &[K], src: ZERO, off: ZERO, imm: ZERO, form: Form::Unary, shape: Shape::Negate, level: V1 },
    alu("mod",   0x90, 0, unsigned(W::I32RemU, W::I64RemU, OnZero::KeepDst), V1),
    alu("smod",  0x90, 1, unsigned(W::I32RemS, W::I64RemS, OnZero::KeepDst), V4),
    alu("xor",   0xa0, 0, Binary(W::I32Xor, W::I64Xor), V1),
    alu("mov",   0xb0, 0, Shape::Move, V1),
    movsx("movsx8",  ALUS, 8, V4),
    movsx("movsx16", ALUS, 16, V4),
    movsx("movsx32", &[class::ALU64], 32, V4),
    Row { mnemonic: "cast", code: 0xb0, classes: &[class::ALU64], low: &[X], src: Any, off: Is(1), imm: Any, form: Form::Binary, shape: Shape::Arena, level: V4 },
    alu("arsh",  0xc0, 0, Binary(W::I32ShrS, W::I64ShrS), V1),
    // 4.2: byte order
    end("le16",   &[class::ALU], &[K], 16, Truncate(16), V1),
    end("le32",   &[class::ALU], &[K], 32, Truncate(32), V1),
    end("le64",   &[class::ALU], &[K], 64, Truncate(64), V1),
    end("be16",   &[class::ALU], &[X], 16, Swap(16), V1),
    end("be32",   &[class::ALU], &[X], 32, Swap(32), V1),
    end("be64",   &[class::ALU], &[X], 64, Swap(64), V1),
    end("bswap16", &[class::ALU64], &[K], 16, Swap(16), V4),
    end("bswap32", &[class::ALU64], &[K], 32, Swap(32), V4),
    end("bswap64", &[class::ALU64], &[K], 64, Swap(64), V4),
    // 4.3: jumps
    control("ja",    0x05, ZERO, (Any, ZERO), Form::Near, Shape::Goto, V1),
    control("gotol", 0x06, ZERO, (ZERO, Any), Form::Far, Shape::Goto, V4),
    jump("jeq",  0x10, Compare(W::I32Eq, W::I64Eq), V1),
    jump("jgt",  0x20, Compare(W::I32GtU, W::I64GtU), V1),
    jump("jge",  0x30, Compare(W::I32GeU, W::I64GeU), V1),
    jump("jset", 0x40, Shape::Test, V1),
    jump("jne",  0x50, Compare(W::I32Ne, W::I64Ne), V1),
    jump("jsgt", 0x60, Compare(W::I32GtS, W::I64GtS), V1),
    jump("jsge", 0x70, Compare(W::I32GeS, W::I64GeS), V1),
    control("call",  0x85, Is(0), (ZERO, Any), Form::Call, Shape::Helper, V1),
    control("callf", 0x85, Is(1), (ZERO, Any), Form::Call, Shape::Local, V1),
    control("kfunc", 0x85, Is(2), (Any, Any), Form::Call, Shape::Kfunc, V1),
    control("callx", 0x8d, Any, (ZERO, Any), Form::Unary, Shape::CallRegister, V1),
    control("exit",  0x95, ZERO, (ZERO, ZERO), Form::Bare, Shape::Exit, V1),
    jump("jlt",  0xa0, Compare(W::I32LtU, W::I64LtU), V2),
    jump("jle",  0xb0, Compare(W::I32LeU, W::I64LeU), V2),
    jump("jslt", 0xc0, Compare(W::I32LtS, W::I64LtS), V2),
    jump("jsle", 0xd0, Compare(W::I32LeS, W::I64LeS), V2),
    control("may_goto", 0xe5, ZERO, (Any, ZERO), Form::Near, Shape::MayGoto, V4),
    // 5.1, 5.2: loads and stores
    memory("stx",  0x60, &[class::STX], SIZES, Form::StoreReg, Shape::Store, V1),
    memory("st",   0x60, &[class::ST],  SIZES, Form::StoreImm, Shape::Store, V1),
    memory("ldx",  0x60, &[class::LDX], SIZES, Form::Load, Load(false), V1),
    memory("ldxs", 0x80, &[class::LDX], &[B1, H2, W4], Form::Load, Load(true), V4),
    // 5.3: atomic operations
    atomic("atomic_add",       0x00, AtomicOp::Add, false, V1),
    atomic("atomic_or",        0x40, AtomicOp::Or, false, V3),
    atomic("atomic_and",       0x50, AtomicOp::And, false, V3),
    atomic("atomic_xor",       0xa0, AtomicOp::Xor, false, V3),
    atomic("atomic_fetch_add", 0x01, AtomicOp::Add, true, V3),
    atomic("atomic_fetch_or",  0x41, AtomicOp::Or, true, V3),
    atomic("atomic_fetch_and", 0x51, AtomicOp::And, true, V3),
    atomic("atomic_fetch_xor", 0xa1, AtomicOp::Xor, true, V3),
    atomic("atomic_xchg",      0xe1, AtomicOp::Xchg, true, V3),
    atomic("atomic_cmpxchg",   0xf1, AtomicOp::Cmpxchg, true, V3),
    ordered("load_acquire",  0x100, Form::AtomicLoad, Load(false)),
    ordered("store_release", 0x110, Form::Atomic, Shape::Store),
    // 5.4: 64-bit immediates
    Row { mnemonic: "lddw", code: 0x18, classes: &[class::LD], low: &[D8], src: Any, off: ZERO, imm: Any, form: Form::Wide, shape: Shape::Constant, level: V1 },
    // 5.5: legacy packet access
    packet("ldabs", 0x20, ZERO, Form::PacketAbs),
    packet("ldind", 0x40, Any, Form::PacketInd),
];

/// What ISA levels without 32-bit moves write as a shift to the left and one to the right ([`super::pairs`]).
pub(super) static ZERO_EXTEND: Row = alu("mov", 0xb0, 0, Shape::Move, V1);
/// The same, for levels without sign-extending moves.
pub(super) static SIGN_EXTEND: Row = movsx("movsx32", &[class::ALU64], 32, V1);

/// The rows that have `opcode`; their fields tell them apart.
pub(crate) fn rows(opcode: u8) -> impl Iterator<Item = &'static Row> {
    let first = usize::from(FIRST[usize::from(opcode)]);
    ROWS.iter().skip(first).filter(move |row| row.has(opcode))
}

/// For each opcode the first row that has it, so that a look-up passes over few rows.
static FIRST: [u8; 256] = {
    let mut first = [u8::MAX; 256];
    let mut opcode = 0;
    while opcode < 256 {
        let mut row = ROWS.len();
        while row > 0 {
            row -= 1;
            if ROWS[row].has(opcode as u8) {
                first[opcode] = row as u8;
            }
        }
        opcode += 1;
    }
    first
};

//! What an instruction does, as [`crate::decode`] tells it.

/// A general register, as encoded.
pub(crate) type Reg = u8;

pub(crate) const RAX: Reg = 0;
pub(crate) const RCX: Reg = 1;
pub(crate) const RDX: Reg = 2;
pub(crate) const RSP: Reg = 4;
pub(crate) const RBP: Reg = 5;
pub(crate) const RSI: Reg = 6;
pub(crate) const RDI: Reg = 7;
pub(crate) const R8: Reg = 8;
pub(crate) const R9: Reg = 9;

/// How many general registers there are.
pub(crate) const REGISTERS: usize = 16;

/// A condition, as encoded. The lowest bit turns it round.
pub(crate) type Cc = u8;

pub(crate) const B: Cc = 2;
pub(crate) const AE: Cc = 3;
pub(crate) const E: Cc = 4;
pub(crate) const NE: Cc = 5;
pub(crate) const BE: Cc = 6;
pub(crate) const A: Cc = 7;

/// A place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mem {
    pub(crate) base: Reg,
    /// A register, and by how many bits it is shifted.
    pub(crate) index: Option<(Reg, u8)>,
    pub(crate) disp: i32,
}

/// A register or a place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rm {
    Reg(Reg),
    Mem(Mem),
}

/// The second operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Rm(Rm),
    /// Extended to 64 bits as its instruction does it.
    Imm(u64),
}

/// Operations on two numbers, as encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alu {
    Add,
    Or,
    And,
    Sub,
    Xor,
    Cmp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shift {
    Rol,
    Ror,
    Shl,
    Shr,
    Sar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Imm(u8),
    Cl,
}

/// Atomic operations that leave what was there in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swap {
    /// `lock xadd`.
    Add,
    /// `xchg`, which locks by itself.
    Exchange,
    /// `lock cmpxchg`: compares with rax, leaves the old in it.
    Compare,
}

/// Where control goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Call,
    Jump,
    Branch(Cc),
}

/// What an instruction does. `wide`: on 64 bits, else on 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Nop,
    Push(Reg),
    Pop(Reg),
    /// `mov rsp, rbp; pop rbp`.
    Leave,
    /// `size` bytes of `from`, made as wide as `wide` says.
    Load {
        to: Reg,
        from: Rm,
        size: u8,
        signed: bool,
        wide: bool,
    },
    Store {
        to: Rm,
        from: Reg,
        size: u8,
    },
    StoreImm {
        to: Mem,
        value: u64,
        size: u8,
    },
    Imm {
        to: Reg,
        value: u64,
    },
    Lea {
        to: Reg,
        from: Mem,
        wide: bool,
    },
    Alu {
        op: Alu,
        to: Rm,
        from: Source,
        wide: bool,
        locked: bool,
    },
    Test {
        a: Reg,
        b: Source,
        wide: bool,
    },
    Set {
        to: Reg,
    },
    Cmov {
        condition: Cc,
        to: Reg,
        from: Rm,
        wide: bool,
    },
    /// `bsf`, `bsr`: the number of a bit; if there is none, `to` stays as it was.
    Scan {
        to: Reg,
        from: Reg,
        wide: bool,
    },
    Mul {
        to: Reg,
        a: Rm,
        b: Source,
        wide: bool,
    },
    Shift {
        kind: Shift,
        to: Reg,
        by: Count,
        wide: bool,
    },
    /// `not`, or `neg`, which sets flags.
    Unary {
        to: Reg,
        negate: bool,
        wide: bool,
    },
    Bswap {
        to: Reg,
        wide: bool,
    },
    /// `cdq`, `cqo`: rdx is rax's sign.
    Sign {
        wide: bool,
    },
    Div {
        by: Reg,
        signed: bool,
        wide: bool,
    },
    Swap {
        kind: Swap,
        at: Mem,
        with: Reg,
        wide: bool,
    },
    /// To so far behind the instruction.
    Go {
        flow: Flow,
        by: i32,
        /// Of 32 bits, which another may be put in place of.
        far: bool,
    },
    /// `ud2`.
    Undefined,
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insn {
    pub(crate) op: Op,
    pub(crate) length: u32,
}

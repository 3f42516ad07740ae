//! Numbers, and what is made of them.

use abi::imports::ATOMICS;
use abi::layout;
use wasm_encoder::{BlockType, Instruction as I, MemArg, MemArgTarget, ValType};

use super::Random;

/// Functions of a module; each calls those before it only.
pub(super) const FUNCTIONS: u32 = 3;
/// Locals that code may do anything with: so many i64, then so many i32. Loops have others.
pub(super) const WIDE: u32 = 6;
pub(super) const NARROW: u32 = 6;
/// Loops of a function at most.
pub(super) const LOOPS: u32 = 6;

/// The type of every function of the module: its number is [`SIGNATURES`]' index.
pub(super) const SIGNATURES: [&[ValType]; FUNCTIONS as usize] = [
    &[ValType::I64, ValType::I32],
    &[
        ValType::I32,
        ValType::I64,
        ValType::I64,
        ValType::I32,
        ValType::I64,
    ],
    &[ValType::I64],
];
pub(super) const RESULTS: [ValType; FUNCTIONS as usize] =
    [ValType::I64, ValType::I32, ValType::I64];

pub(super) struct Generator<'r> {
    pub(super) random: &'r mut Random,
    pub(super) code: Vec<I<'static>>,
    /// Which function this is.
    pub(super) function: u32,
    pub(super) params: u32,
    pub(super) loops: u32,
    /// Results of what is open, the function first; a loop's has none.
    pub(super) open: Vec<Option<ValType>>,
    pub(super) turns: u32,
    pub(super) size: u32,
}

/// Imported functions before the module's own.
pub(super) const IMPORTED: u32 = ATOMICS.len() as u32 + 3;

impl Generator<'_> {
    pub(super) fn chance(&mut self, of: u32) -> bool {
        self.random.below(of) == 0
    }

    pub(super) fn local(&mut self, ty: ValType) -> u32 {
        let first = self.params;
        match ty {
            ValType::I64 => first + self.random.below(WIDE),
            _ => first + WIDE + self.random.below(NARROW),
        }
    }

    pub(super) fn constant(&mut self, ty: ValType) {
        let number = self.random.number();
        self.code.push(match ty {
            ValType::I64 => I::I64Const(number),
            _ => I::I32Const(number as i32),
        });
    }

    pub(super) fn parameter(&mut self, ty: ValType) {
        let params = SIGNATURES[self.function as usize];
        let index = self.random.below(self.params);
        match params[index as usize] == ty {
            true => self.code.push(I::LocalGet(index)),
            false => self.constant(ty),
        }
    }

    pub(super) fn value(&mut self, ty: ValType, depth: u32) {
        self.size += 1;
        if depth == 0 || self.size > 400 {
            return match self.random.below(5) {
                0 => self.constant(ty),
                1 => self.parameter(ty),
                2 if ty == ValType::I32 => self.code.push(I::GlobalGet(0)),
                _ => {
                    let local = self.local(ty);
                    self.code.push(I::LocalGet(local));
                }
            };
        }
        match self.random.below(16) {
            0 => self.value(ty, 0),
            1..=5 => self.binary(ty, depth),
            6 => self.unary(ty, depth),
            7 => self.convert(ty, depth),
            8 | 9 => self.load(ty, depth),
            10 => self.choose(ty, depth),
            11 => self.block(ty, depth),
            12 => self.call(ty, depth),
            13 if ty == ValType::I32 => self.compare(depth),
            13 => self.atomic(depth),
            14 => {
                self.value(ty, depth - 1);
                let local = self.local(ty);
                self.code.push(I::LocalTee(local));
            }
            _ => self.divide(ty, depth),
        }
    }

    pub(super) fn binary(&mut self, ty: ValType, depth: u32) {
        self.value(ty, depth - 1);
        self.value(ty, depth - 1);
        let wide = [
            I::I64Add,
            I::I64Sub,
            I::I64Mul,
            I::I64And,
            I::I64Or,
            I::I64Xor,
            I::I64Shl,
            I::I64ShrU,
            I::I64ShrS,
            I::I64Rotl,
            I::I64Rotr,
            I::I64Add,
        ];
        let narrow = [
            I::I32Add,
            I::I32Sub,
            I::I32Mul,
            I::I32And,
            I::I32Or,
            I::I32Xor,
            I::I32Shl,
            I::I32ShrU,
            I::I32ShrS,
            I::I32Rotl,
            I::I32Rotr,
            I::I32Add,
        ];
        self.one_of(ty, wide, narrow);
    }

    pub(super) fn one_of<const N: usize>(
        &mut self,
        ty: ValType,
        wide: [I<'static>; N],
        narrow: [I<'static>; N],
    ) {
        let index = self.random.below(N as u32) as usize;
        self.code.push(match ty {
            ValType::I64 => wide[index].clone(),
            _ => narrow[index].clone(),
        });
    }

    pub(super) fn divide(&mut self, ty: ValType, depth: u32) {
        self.value(ty, depth - 1);
        self.value(ty, depth - 1);
        // Else most runs end here.
        if !self.chance(8) {
            let bit = if ty == ValType::I64 {
                I::I64Const(1)
            } else {
                I::I32Const(1)
            };
            self.code.push(bit);
            self.code.push(if ty == ValType::I64 {
                I::I64Or
            } else {
                I::I32Or
            });
        }
        let wide = [I::I64DivS, I::I64DivU, I::I64RemS, I::I64RemU];
        let narrow = [I::I32DivS, I::I32DivU, I::I32RemS, I::I32RemU];
        self.one_of(ty, wide, narrow);
    }

    pub(super) fn unary(&mut self, ty: ValType, depth: u32) {
        self.value(ty, depth - 1);
        let wide = [
            I::I64Clz,
            I::I64Ctz,
            I::I64Popcnt,
            I::I64Extend8S,
            I::I64Extend16S,
            I::I64Extend32S,
        ];
        let narrow = [
            I::I32Clz,
            I::I32Ctz,
            I::I32Popcnt,
            I::I32Extend8S,
            I::I32Extend16S,
            I::I32Extend8S,
        ];
        self.one_of(ty, wide, narrow);
    }

    pub(super) fn convert(&mut self, ty: ValType, depth: u32) {
        match ty {
            ValType::I64 => {
                self.value(ValType::I32, depth - 1);
                let how = [I::I64ExtendI32U, I::I64ExtendI32S];
                self.one_of(ty, how.clone(), how);
            }
            _ => {
                self.value(ValType::I64, depth - 1);
                self.code.push(I::I32WrapI64);
            }
        }
    }

    pub(super) fn compare(&mut self, depth: u32) {
        let ty = if self.chance(2) {
            ValType::I64
        } else {
            ValType::I32
        };
        self.value(ty, depth - 1);
        if self.chance(6) {
            self.one_of(ty, [I::I64Eqz], [I::I32Eqz]);
            return;
        }
        self.value(ty, depth - 1);
        let wide = [
            I::I64Eq,
            I::I64Ne,
            I::I64LtU,
            I::I64LtS,
            I::I64LeU,
            I::I64LeS,
            I::I64GtU,
            I::I64GtS,
            I::I64GeU,
            I::I64GeS,
        ];
        let narrow = [
            I::I32Eq,
            I::I32Ne,
            I::I32LtU,
            I::I32LtS,
            I::I32LeU,
            I::I32LeS,
            I::I32GtU,
            I::I32GtS,
            I::I32GeU,
            I::I32GeS,
        ];
        self.one_of(ty, wide, narrow);
        if self.chance(6) {
            self.code.push(I::I32Eqz);
        }
    }

    /// An address: often inside memory.
    pub(super) fn address(&mut self, depth: u32) {
        match self.random.below(6) {
            0 => self.value(ValType::I32, depth),
            1 => self.code.push(I::GlobalGet(0)),
            2 => {
                self.code.push(I::GlobalGet(0));
                let by = self.random.below(0x4000) as i32 - 0x1800;
                self.code.push(I::I32Const(by));
                self.code.push(I::I32Add);
            }
            3 => {
                self.value(ValType::I64, depth);
                self.code.push(I::I32WrapI64);
                self.code.push(I::I32Const(0xfff8));
                self.code.push(I::I32And);
            }
            4 => {
                let local = self.local(ValType::I64);
                self.code.push(I::LocalGet(local));
                self.code.push(I::I32WrapI64);
            }
            _ => {
                let at = self.random.below(0x2_1000) as i32;
                self.code.push(I::I32Const(at));
            }
        }
    }

    pub(super) fn memarg(&mut self) -> MemArg {
        let offset = match self.random.below(8) {
            0 => u64::from(self.random.word() as u32),
            1 => u64::from(self.random.below(0x2_0000)),
            _ => u64::from(self.random.below(64)),
        };
        MemArg {
            offset,
            align: 0,
            target: MemArgTarget::Memory(0),
            ordering: None,
        }
    }

    pub(super) fn load(&mut self, ty: ValType, depth: u32) {
        self.address(depth - 1);
        let m = self.memarg();
        let wide = [
            I::I64Load(m),
            I::I64Load8U(m),
            I::I64Load8S(m),
            I::I64Load16U(m),
            I::I64Load16S(m),
            I::I64Load32U(m),
            I::I64Load32S(m),
        ];
        let narrow = [
            I::I32Load(m),
            I::I32Load8U(m),
            I::I32Load8S(m),
            I::I32Load16U(m),
            I::I32Load16S(m),
            I::I32Load(m),
            I::I32Load(m),
        ];
        self.one_of(ty, wide, narrow);
    }

    pub(super) fn store(&mut self, depth: u32) {
        let ty = if self.chance(2) {
            ValType::I64
        } else {
            ValType::I32
        };
        self.address(depth);
        self.value(ty, depth);
        let m = self.memarg();
        let wide = [
            I::I64Store(m),
            I::I64Store8(m),
            I::I64Store16(m),
            I::I64Store32(m),
        ];
        let narrow = [
            I::I32Store(m),
            I::I32Store8(m),
            I::I32Store16(m),
            I::I32Store(m),
        ];
        self.one_of(ty, wide, narrow);
    }

    pub(super) fn condition(&mut self, depth: u32) {
        match self.chance(3) {
            true => self.value(ValType::I32, depth),
            false => self.compare(depth.max(1)),
        }
    }

    pub(super) fn choose(&mut self, ty: ValType, depth: u32) {
        self.value(ty, depth - 1);
        self.value(ty, depth - 1);
        self.condition(depth - 1);
        self.code.push(I::Select);
    }

    /// A block or an `if` with a result.
    pub(super) fn block(&mut self, ty: ValType, depth: u32) {
        let is_if = self.chance(2);
        if is_if {
            self.condition(depth - 1);
            self.code.push(I::If(BlockType::Result(ty)));
        } else {
            self.code.push(I::Block(BlockType::Result(ty)));
        }
        self.open.push(Some(ty));
        self.statements(1, depth - 1);
        if self.chance(2) {
            self.value(ty, depth - 1);
            self.condition(depth - 1);
            self.code.push(I::BrIf(0));
            self.code.push(I::Drop);
        }
        self.value(ty, depth - 1);
        if is_if {
            self.code.push(I::Else);
            self.statements(1, depth - 1);
            self.value(ty, depth - 1);
        }
        self.code.push(I::End);
        self.open.pop();
    }

    pub(super) fn call(&mut self, ty: ValType, depth: u32) {
        let callee = self.random.below(FUNCTIONS);
        if callee >= self.function || RESULTS[callee as usize] != ty || self.turns > 1 {
            return self.helper(ty, depth);
        }
        for param in SIGNATURES[callee as usize] {
            self.value(*param, depth - 1);
        }
        self.code.push(I::Call(IMPORTED + callee));
    }

    pub(super) fn helper(&mut self, ty: ValType, depth: u32) {
        let imports = ATOMICS.len() as u32;
        if self.chance(2) {
            self.code.push(I::Call(imports + 1));
        } else {
            // It reads memory of nobody: gives zero.
            self.value(ValType::I64, depth - 1);
            self.code.push(I::Drop);
            self.code.push(I::I64Const(8));
            self.code.push(I::Call(imports + 2));
        }
        if ty == ValType::I32 {
            self.code.push(I::I32WrapI64);
        }
    }

    pub(super) fn atomic(&mut self, depth: u32) {
        let which = self.random.below(ATOMICS.len() as u32);
        let (name, _, width) = ATOMICS[which as usize];
        match self.random.below(4) {
            0 => self.value(ValType::I64, depth - 1),
            1 => {
                let at = self.random.below(0x2_0000) & !(width - 1);
                self.code.push(I::I64Const(layout::guest_ptr(at) as i64));
            }
            _ => {
                self.value(ValType::I64, depth - 1);
                let most = i64::from(0x1_fff8u32);
                self.code.push(I::I64Const(most));
                self.code.push(I::I64And);
                self.code.push(I::I64Const(layout::guest_ptr(0) as i64));
                self.code.push(I::I64Or);
            }
        }
        self.value(ValType::I64, depth - 1);
        if name.starts_with("cmpxchg") {
            self.value(ValType::I64, depth - 1);
        }
        self.code.push(I::Call(which));
    }
}

//! Operators without control flow: arithmetic, comparisons, conversions.

use abi::layout;
use abi::traps::Trap;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use wasmparser::Operator;

use super::Error;
use super::access::Shape;
use super::function::Function;

/// What takes two numbers of one type and gives another.
#[derive(Clone, Copy)]
enum Binary {
    Add,
    Sub,
    Mul,
    And,
    Or,
    Xor,
    Shl,
    ShrS,
    ShrU,
    Rotl,
    Rotr,
    Div { signed: bool, rest: bool },
    Compare(IntCC),
}

/// What takes one number.
#[derive(Clone, Copy)]
enum Unary {
    Clz,
    Ctz,
    Popcnt,
    Eqz,
    Extend(Type),
}

fn binary(operator: &Operator<'_>) -> Option<(Type, Binary)> {
    use Binary::{Add, And, Compare, Div, Mul, Or, Rotl, Rotr, Shl, ShrS, ShrU, Sub, Xor};
    use IntCC::{
        Equal, NotEqual, SignedGreaterThan, SignedGreaterThanOrEqual, SignedLessThan,
        SignedLessThanOrEqual, UnsignedGreaterThan, UnsignedGreaterThanOrEqual, UnsignedLessThan,
        UnsignedLessThanOrEqual,
    };
    let div = |signed, rest| Div { signed, rest };
    macro_rules! table {
        ($($narrow:ident $wide:ident $what:expr;)*) => {
            match operator {
                $(Operator::$narrow => Some((I32, $what)), Operator::$wide => Some((I64, $what)),)*
                _ => None,
            }
        };
    }
    table! {
        I32Add I64Add Add;
        I32Sub I64Sub Sub;
        I32Mul I64Mul Mul;
        I32And I64And And;
        I32Or I64Or Or;
        I32Xor I64Xor Xor;
        I32Shl I64Shl Shl;
        I32ShrS I64ShrS ShrS;
        I32ShrU I64ShrU ShrU;
        I32Rotl I64Rotl Rotl;
        I32Rotr I64Rotr Rotr;
        I32DivS I64DivS div(true, false);
        I32DivU I64DivU div(false, false);
        I32RemS I64RemS div(true, true);
        I32RemU I64RemU div(false, true);
        I32Eq I64Eq Compare(Equal);
        I32Ne I64Ne Compare(NotEqual);
        I32LtS I64LtS Compare(SignedLessThan);
        I32LtU I64LtU Compare(UnsignedLessThan);
        I32GtS I64GtS Compare(SignedGreaterThan);
        I32GtU I64GtU Compare(UnsignedGreaterThan);
        I32LeS I64LeS Compare(SignedLessThanOrEqual);
        I32LeU I64LeU Compare(UnsignedLessThanOrEqual);
        I32GeS I64GeS Compare(SignedGreaterThanOrEqual);
        I32GeU I64GeU Compare(UnsignedGreaterThanOrEqual);
    }
}

fn unary(operator: &Operator<'_>) -> Option<(Type, Unary)> {
    Some(match operator {
        Operator::I32Clz => (I32, Unary::Clz),
        Operator::I64Clz => (I64, Unary::Clz),
        Operator::I32Ctz => (I32, Unary::Ctz),
        Operator::I64Ctz => (I64, Unary::Ctz),
        Operator::I32Popcnt => (I32, Unary::Popcnt),
        Operator::I64Popcnt => (I64, Unary::Popcnt),
        Operator::I32Eqz => (I32, Unary::Eqz),
        Operator::I64Eqz => (I64, Unary::Eqz),
        Operator::I32Extend8S => (I32, Unary::Extend(I8)),
        Operator::I32Extend16S => (I32, Unary::Extend(I16)),
        Operator::I64Extend8S => (I64, Unary::Extend(I8)),
        Operator::I64Extend16S => (I64, Unary::Extend(I16)),
        Operator::I64Extend32S => (I64, Unary::Extend(I32)),
        _ => return None,
    })
}

impl Function<'_, '_> {
    /// An operator that neither branches nor names a local.
    pub(super) fn simple(&mut self, operator: &Operator<'_>) -> Result<(), Error> {
        if let Some((ty, operation)) = binary(operator) {
            let (a, b) = self.pop2();
            let result = self.binary(ty, operation, a, b);
            self.push(result);
            return Ok(());
        }
        if let Some((ty, operation)) = unary(operator) {
            let a = self.pop();
            let result = self.unary(ty, operation, a);
            self.push(result);
            return Ok(());
        }
        if let Some((ty, shape, arg)) = Shape::load(operator) {
            let address = self.pop();
            let value = self.load(ty, shape, address, arg.offset);
            self.push(value);
            return Ok(());
        }
        if let Some((shape, arg)) = Shape::store(operator) {
            let (address, value) = self.pop2();
            self.store(shape, address, arg.offset, value);
            return Ok(());
        }
        self.other(operator)
    }

    fn other(&mut self, operator: &Operator<'_>) -> Result<(), Error> {
        match operator {
            Operator::Nop => {}
            Operator::Drop => {
                self.pop();
            }
            Operator::Select => {
                let condition = self.pop();
                let (a, b) = self.pop2();
                let value = self.b.ins().select(condition, a, b);
                self.push(value);
            }
            Operator::I32Const { value } => {
                let value = self.iconst(I32, *value as u32 as u64);
                self.push(value);
            }
            Operator::I64Const { value } => {
                let value = self.iconst(I64, *value as u64);
                self.push(value);
            }
            Operator::I32WrapI64 => {
                let value = self.pop();
                let result = self.wrap(value);
                self.push(result);
            }
            Operator::I64ExtendI32U => {
                let value = self.pop();
                let result = self.extend(value);
                self.push(result);
            }
            Operator::I64ExtendI32S => {
                let value = self.pop();
                let result = self.b.ins().sextend(I64, value);
                self.push(result);
            }
            Operator::MemorySize { .. } => {
                let pages = self.module.memory / layout::WASM_PAGE;
                let value = self.iconst(I32, pages.into());
                self.push(value);
            }
            Operator::MemoryGrow { .. } => {
                let pages = self.pop();
                let always = self.b.ins().icmp(IntCC::Equal, pages, pages);
                self.trap_if(always, Trap::Growth);
                self.push(pages);
            }
            other => {
                let name = format!("{other:?}");
                let name = name.split([' ', '{']).next().unwrap_or_default();
                return Err(Error::Unsupported(format!("instruction {name}")));
            }
        }
        Ok(())
    }

    fn binary(&mut self, ty: Type, operation: Binary, a: Value, b: Value) -> Value {
        match operation {
            Binary::Add => return self.add(ty, a, b),
            Binary::Or => return self.or(a, b),
            Binary::Div { signed, rest } => return self.divide(ty, signed, rest, a, b),
            _ => {}
        }
        let ins = self.b.ins();
        match operation {
            Binary::Sub => ins.isub(a, b),
            Binary::Mul => ins.imul(a, b),
            Binary::And => ins.band(a, b),
            Binary::Xor => ins.bxor(a, b),
            Binary::Shl => ins.ishl(a, b),
            Binary::ShrS => ins.sshr(a, b),
            Binary::ShrU => ins.ushr(a, b),
            Binary::Rotl => ins.rotl(a, b),
            Binary::Rotr => ins.rotr(a, b),
            Binary::Compare(condition) => {
                let flag = ins.icmp(condition, a, b);
                self.b.ins().uextend(I32, flag)
            }
            Binary::Add | Binary::Or | Binary::Div { .. } => unreachable!("done above"),
        }
    }

    /// Also of what is known of addresses.
    fn add(&mut self, ty: Type, a: Value, b: Value) -> Value {
        let sum = match (self.constant(a), self.constant(b)) {
            (Some(a), Some(b)) => return self.iconst(ty, a.wrapping_add(b)),
            _ => self.b.ins().iadd(a, b),
        };
        for (from, by) in [(a, b), (b, a)] {
            if let Some(place) = self.placed.get(&from)
                && let Some(by) = self.constant(by)
            {
                self.placed.insert(sum, place.wrapping_add(by));
            }
        }
        sum
    }

    fn or(&mut self, a: Value, b: Value) -> Value {
        let result = self.b.ins().bor(a, b);
        // A tag on an address without one: no bit is in both.
        for (address, tag) in [(a, b), (b, a)] {
            if let Some(place) = self.placed.get(&address)
                && *place < u64::from(layout::CPU_AREA)
                && let Some(tag) = self.constant(tag)
                && tag & u64::from(u32::MAX) == 0
            {
                self.placed.insert(result, place.wrapping_add(tag));
            }
        }
        result
    }

    fn wrap(&mut self, value: Value) -> Value {
        if let Some(value) = self.constant(value) {
            return self.iconst(I32, value);
        }
        let result = self.b.ins().ireduce(I32, value);
        if let Some(place) = self.placed.get(&value) {
            self.placed.insert(result, *place);
        }
        result
    }

    fn extend(&mut self, value: Value) -> Value {
        if let Some(value) = self.constant(value) {
            return self.iconst(I64, value);
        }
        let result = self.b.ins().uextend(I64, value);
        if let Some(place) = self.placed.get(&value)
            && *place < u64::from(layout::CPU_AREA)
        {
            // The sum does not wrap, so it is the same in 64 bits.
            self.placed.insert(result, *place);
        }
        result
    }

    fn divide(&mut self, ty: Type, signed: bool, rest: bool, a: Value, b: Value) -> Value {
        let divisor = self.constant(b);
        if divisor.is_none_or(|divisor| divisor == 0) {
            let zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
            self.trap_if(zero, Trap::IntegerDivision);
        }
        let is_minus_one = divisor.is_none_or(|divisor| divisor == self.ones(ty));
        if signed && !rest && is_minus_one {
            let least = self.iconst(ty, 1 << (ty.bits() - 1));
            let least = self.b.ins().icmp(IntCC::Equal, a, least);
            let minus_one = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
            let overflow = self.b.ins().band(least, minus_one);
            self.trap_if(overflow, Trap::IntegerDivision);
        }
        let ins = self.b.ins();
        match (signed, rest) {
            (true, false) => ins.sdiv(a, b),
            (false, false) => ins.udiv(a, b),
            (true, true) => ins.srem(a, b),
            (false, true) => ins.urem(a, b),
        }
    }

    fn ones(&self, ty: Type) -> u64 {
        match ty {
            I32 => u64::from(u32::MAX),
            _ => u64::MAX,
        }
    }

    fn unary(&mut self, ty: Type, operation: Unary, a: Value) -> Value {
        match operation {
            Unary::Clz => self.b.ins().clz(a),
            Unary::Ctz => self.b.ins().ctz(a),
            Unary::Popcnt => self.b.ins().popcnt(a),
            Unary::Eqz => {
                let flag = self.b.ins().icmp_imm_s(IntCC::Equal, a, 0);
                self.b.ins().uextend(I32, flag)
            }
            Unary::Extend(from) => {
                let narrow = self.b.ins().ireduce(from, a);
                self.b.ins().sextend(ty, narrow)
            }
        }
    }
}

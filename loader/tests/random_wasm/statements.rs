//! Statements: what changes locals and memory, and where it goes on.

use wasm_encoder::{BlockType, Instruction as I, ValType};

use super::values::{Generator, LOOPS, NARROW, RESULTS, WIDE};

impl Generator<'_> {
    pub(super) fn statements(&mut self, count: u32, depth: u32) {
        for _ in 0..count {
            self.statement(depth);
        }
    }

    pub(super) fn statement(&mut self, depth: u32) {
        let ty = if self.chance(2) {
            ValType::I64
        } else {
            ValType::I32
        };
        if depth == 0 || self.size > 300 {
            self.value(ty, 0);
            let local = self.local(ty);
            self.code.push(I::LocalSet(local));
            return;
        }
        match self.random.below(14) {
            0..=4 => {
                self.value(ty, depth);
                let local = self.local(ty);
                self.code.push(I::LocalSet(local));
            }
            5 | 6 => self.store(depth - 1),
            7 => {
                self.atomic(depth);
                self.code.push(I::Drop);
            }
            8 => self.repeat(depth),
            9 => {
                self.condition(depth);
                self.code.push(I::If(BlockType::Empty));
                self.open.push(None);
                self.statements(2, depth - 1);
                if self.chance(2) {
                    self.code.push(I::Else);
                    self.statements(2, depth - 1);
                }
                self.code.push(I::End);
                self.open.pop();
            }
            10 => {
                self.code.push(I::Block(BlockType::Empty));
                self.open.push(None);
                self.statements(1, depth - 1);
                self.condition(depth - 1);
                self.code.push(I::BrIf(0));
                self.statements(1, depth - 1);
                if self.chance(3) {
                    self.code.push(I::Br(0));
                    self.statements(1, depth - 1);
                }
                self.code.push(I::End);
                self.open.pop();
            }
            11 => self.table(depth),
            12 => {
                self.condition(depth - 1);
                self.code.push(I::If(BlockType::Empty));
                self.value(RESULTS[self.function as usize], depth - 1);
                self.code.push(I::Return);
                self.code.push(I::End);
            }
            _ => {
                self.value(ty, depth);
                self.code.push(I::Drop);
            }
        }
    }

    /// A loop of a few turns.
    pub(super) fn repeat(&mut self, depth: u32) {
        if self.loops == LOOPS || self.turns > 1 {
            return self.store(depth - 1);
        }
        let counter = self.params + WIDE + NARROW + self.loops;
        self.loops += 1;
        self.turns += 1;
        let turns = self.random.below(6) as i32;
        self.code.push(I::I32Const(turns));
        self.code.push(I::LocalSet(counter));
        let is_left = self.chance(2);
        if is_left {
            self.code.push(I::Block(BlockType::Empty));
            self.open.push(None);
        }
        self.code.push(I::Loop(BlockType::Empty));
        self.open.push(None);
        self.statements(2, depth - 1);
        if is_left {
            self.condition(depth - 1);
            self.code.push(I::BrIf(1));
            self.statements(1, depth - 1);
        }
        for op in [
            I::LocalGet(counter),
            I::I32Const(1),
            I::I32Sub,
            I::LocalTee(counter),
            I::I32Const(0),
            I::I32GtS,
            I::BrIf(0),
            I::End,
        ] {
            self.code.push(op);
        }
        self.open.pop();
        if is_left {
            self.code.push(I::End);
            self.open.pop();
        }
        self.turns -= 1;
    }

    pub(super) fn table(&mut self, depth: u32) {
        for _ in 0..3 {
            self.code.push(I::Block(BlockType::Empty));
            self.open.push(None);
        }
        self.value(ValType::I32, depth - 1);
        if !self.chance(4) {
            self.code.push(I::I32Const(3));
            self.code.push(I::I32And);
        }
        self.code.push(I::BrTable(vec![0, 2, 1, 0].into(), 1));
        for _ in 0..3 {
            self.code.push(I::End);
            self.open.pop();
            self.statements(1, depth - 1);
        }
    }
}

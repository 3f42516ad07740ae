//! Control flow: wasm's structured instructions as blocks of the IR.

use abi::traps::Trap;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::I32;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Type, Value};
use wasmparser::{BlockType, BrTable, Operator};

use super::Error;
use super::function::{Function, ir_type};

/// A structured instruction that is open.
pub(super) struct Frame {
    /// Where a branch to it goes.
    target: Block,
    /// Where it ends; for a loop not where branches go.
    end: Block,
    /// Where an `if` goes on that is not taken, until its `else`.
    otherwise: Option<Block>,
    is_loop: bool,
    result: Option<Type>,
    /// Height of the operand stack below it.
    height: usize,
    /// Whether anything goes to `end`.
    is_left: bool,
}

impl Frame {
    /// What ends at `end`, which has a parameter for a `result`, on an operand stack of `height`.
    pub(super) fn block(end: Block, result: Option<Type>, height: usize) -> Self {
        Self {
            target: end,
            end,
            otherwise: None,
            is_loop: false,
            result,
            height,
            is_left: false,
        }
    }
}

impl Function<'_, '_> {
    /// Goes on in `block`, which is reached from more than one place.
    fn enter(&mut self, block: Block) {
        self.b.switch_to_block(block);
        self.checked.clear();
    }

    /// An operator of control flow that is reached.
    pub(super) fn control(&mut self, operator: &Operator<'_>) -> Result<(), Error> {
        match operator {
            Operator::Block { blockty } => self.open(*blockty, false, None)?,
            Operator::Loop { blockty } => self.open(*blockty, true, None)?,
            Operator::If { blockty } => {
                let condition = self.pop();
                self.open(*blockty, false, Some(condition))?;
            }
            Operator::Else => self.otherwise(true),
            Operator::End => self.end(true),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.dead = Some(0);
            }
            Operator::BrIf { relative_depth } => {
                let condition = self.pop();
                let (target, args) = self.target(*relative_depth);
                let on = self.b.create_block();
                self.b.ins().brif(condition, target, &args, on, &[]);
                self.b.switch_to_block(on);
                self.b.seal_block(on);
            }
            Operator::BrTable { targets } => {
                let index = self.pop();
                self.branch_by_table(index, targets)?;
                self.dead = Some(0);
            }
            Operator::Return => {
                self.branch(self.frames.len() as u32 - 1);
                self.dead = Some(0);
            }
            _ => {
                let to = self.trap_block(Trap::Unreachable);
                self.b.ins().jump(to, &[]);
                self.dead = Some(0);
            }
        }
        Ok(())
    }

    /// Opens a block, a loop, or with a condition an `if`.
    fn open(
        &mut self,
        ty: BlockType,
        is_loop: bool,
        condition: Option<Value>,
    ) -> Result<(), Error> {
        let result = match ty {
            BlockType::Empty => None,
            BlockType::Type(ty) => Some(ir_type(ty)?),
            BlockType::FuncType(_) => {
                return Err(Error::Unsupported("blocks with parameters".into()));
            }
        };
        let end = self.b.create_block();
        if let Some(ty) = result {
            self.b.append_block_param(end, ty);
        }
        let mut frame = Frame::block(end, result, self.stack.len());
        frame.is_loop = is_loop;
        if is_loop {
            frame.target = self.b.create_block();
            self.b.ins().jump(frame.target, &[]);
            self.enter(frame.target);
            let cost = self.turn()?;
            self.pay(cost);
        }
        if let Some(condition) = condition {
            let (then, otherwise) = (self.b.create_block(), self.b.create_block());
            self.b.ins().brif(condition, then, &[], otherwise, &[]);
            self.b.switch_to_block(then);
            self.b.seal_block(then);
            frame.otherwise = Some(otherwise);
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Where a branch `depth` levels out goes, and with what; the operand stack stays.
    fn target(&mut self, depth: u32) -> (Block, Vec<BlockArg>) {
        let at = self.frames.len() - 1 - depth as usize;
        let frame = &mut self.frames[at];
        frame.is_left |= !frame.is_loop;
        let args = match frame.result.filter(|_| !frame.is_loop) {
            Some(_) => self
                .stack
                .last()
                .map(|v| BlockArg::Value(*v))
                .into_iter()
                .collect(),
            None => Vec::new(),
        };
        (frame.target, args)
    }

    fn branch(&mut self, depth: u32) {
        let (target, args) = self.target(depth);
        self.b.ins().jump(target, &args);
    }

    /// Goes where the table of `targets` says for `index`.
    fn branch_by_table(&mut self, index: Value, targets: &BrTable<'_>) -> Result<(), Error> {
        // From which index on, where to.
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let each = targets.targets().chain([Ok(targets.default())]);
        for (case, depth) in (0..).zip(each) {
            let depth = depth?;
            if ranges.last().is_none_or(|(_, last)| *last != depth) {
                ranges.push((case, depth));
            }
        }
        self.branch_by_halves(index, &ranges);
        Ok(())
    }

    /// Finds the range of `index` by halves: no jump is indirect, and no table so long that its end is dear.
    fn branch_by_halves(&mut self, index: Value, ranges: &[(u32, u32)]) {
        if let [(_, depth)] = ranges {
            return self.branch(*depth);
        }
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        let bound = self.iconst(I32, upper[0].0.into());
        let is_lower = self.b.ins().icmp(IntCC::UnsignedLessThan, index, bound);
        let halves = [lower, upper].map(|half| (self.b.create_block(), half));
        let [(low, _), (high, _)] = halves;
        self.b.ins().brif(is_lower, low, &[], high, &[]);
        for (block, half) in halves {
            self.b.switch_to_block(block);
            self.b.seal_block(block);
            self.branch_by_halves(index, half);
        }
    }

    /// Ends what is open with the top of the operand stack, if it has a result.
    fn leave(&mut self) {
        let frame = self.frames.last_mut().expect("the function is valid");
        frame.is_left = true;
        let (end, result) = (frame.end, frame.result);
        let args: Vec<BlockArg> = result
            .and(self.stack.last())
            .map(|v| BlockArg::Value(*v))
            .into_iter()
            .collect();
        self.b.ins().jump(end, &args);
    }

    /// `else`; `reached` if what is before it falls through.
    pub(super) fn otherwise(&mut self, reached: bool) {
        if reached {
            self.leave();
        }
        let frame = self.frames.last_mut().expect("the function is valid");
        let block = frame.otherwise.take().expect("the function is valid");
        self.stack.truncate(frame.height);
        self.enter(block);
        self.b.seal_block(block);
    }

    /// `end`; `reached` as in [`Self::otherwise`].
    pub(super) fn end(&mut self, reached: bool) {
        if reached {
            self.leave();
        }
        let frame = self.frames.last_mut().expect("the function is valid");
        if let Some(block) = frame.otherwise.take() {
            frame.is_left = true;
            let end = frame.end;
            self.enter(block);
            self.b.seal_block(block);
            self.b.ins().jump(end, &[]);
        }
        let frame = self.frames.pop().expect("the function is valid");
        self.stack.truncate(frame.height);
        if frame.is_loop {
            self.b.seal_block(frame.target);
        }
        self.enter(frame.end);
        self.b.seal_block(frame.end);
        if frame.result.is_some() {
            let result = self.b.block_params(frame.end)[0];
            self.push(result);
        }
        if self.frames.is_empty() {
            self.store_fuel();
            let result = frame.result.map(|_| self.pop());
            self.call_return(result);
        } else if !frame.is_left {
            // Nothing gets here; the block is there and must end.
            let to = self.trap_block(Trap::Unreachable);
            self.b.ins().jump(to, &[]);
            self.dead = Some(0);
        }
    }
}

//! The body of a function: its operators, and which belong together.

use cost::Costs;
use wasmparser::{BlockType, BrTable, Operator};

use crate::arena::List;
use crate::module::{Global, Module};
use crate::operator::{Op, Wide, simple, width};
use crate::{Made, Refused, loops};

/// Locals of a function at most, parameters too: of these there are five.
pub(crate) const MAX_LOCALS: usize = cost::MAX_LOCALS as usize + 5;

/// A function's operators, without those that are never reached.
pub(crate) struct Body<'m> {
    pub(crate) ops: List<'m, Op>,
    /// Depths that tables of branches go to.
    pub(crate) targets: List<'m, u32>,
    /// What the body pays, and a turn of each loop.
    pub(crate) costs: Costs,
    /// How far each loop goes.
    pub(crate) spans: List<'m, u32>,
    /// Of each local, whether it is wide; parameters first.
    pub(crate) locals: List<'m, Wide>,
    pub(crate) params: usize,
    pub(crate) result: Option<Wide>,
}

struct Reader<'r, 'a, 'm> {
    module: &'r Module<'a, 'm>,
    body: Body<'m>,
    /// Loops so far, those too that are never reached.
    loops: u32,
    /// Numbers of what is open and reached, but the function itself.
    open: List<'m, u32>,
    /// How deep in what is never reached.
    dead: Option<u32>,
}

impl<'m> Body<'m> {
    /// Reads own function `index`.
    pub(crate) fn read(module: &Module<'_, 'm>, index: u32) -> Made<Self> {
        let (code, body) = module.code(index)?;
        let signature = module.signature(index + module.imports.len() as u32)?;
        let arena = module.arena;
        let mut locals = List::new(arena);
        for param in 0..signature.params() {
            locals.push(signature.is_wide(param));
        }
        for group in body.get_locals_reader()? {
            let (count, ty) = group?;
            let wide = width(ty)?;
            let declared = locals.len().saturating_sub(signature.params());
            if declared.saturating_add(count as usize) > cost::MAX_LOCALS as usize {
                return Err(Refused::Unsupported("a function of more than 256 locals"));
            }
            for _ in 0..count {
                locals.push(wide);
            }
        }
        let mut reader = Reader {
            module,
            body: Self {
                ops: List::with_room(arena, code.operators as usize),
                targets: List::new(arena),
                costs: Costs::default(),
                spans: List::new(arena),
                locals,
                params: signature.params(),
                result: signature.result,
            },
            loops: 0,
            open: List::new(arena),
            dead: None,
        };
        for operator in body.get_operators_reader()? {
            reader.operator(&operator?)?;
            arena.check()?;
        }
        // Behind the operators, which are refused by their names.
        let costs = cost::function(body.as_bytes());
        reader.body.costs = costs.ok_or(Refused::Unsupported("operators of unknown cost"))?;
        reader.body.spans = loops::spans(arena, &reader.body)?;
        Ok(reader.body)
    }

    pub(crate) fn op(&self, number: usize) -> Option<Op> {
        self.ops.get(number).copied()
    }

    /// Another operator in place of one, of which blocks are none.
    pub(crate) fn replace(&mut self, number: usize, op: Op) {
        if let Some(place) = self.ops.get_mut(number) {
            *place = op;
        }
    }

    /// The depths that a table of branches goes to, the default last.
    pub(crate) fn targets_of(&self, first: u32, count: u32) -> &[u32] {
        let first = first as usize;
        let all = self.targets.get(first..first + count as usize + 1);
        all.unwrap_or_default()
    }
}

impl Reader<'_, '_, '_> {
    fn operator(&mut self, operator: &Operator<'_>) -> Made<()> {
        let number = self.loops;
        self.loops += u32::from(matches!(operator, Operator::Loop { .. }));
        if let Some(depth) = self.dead {
            self.dead = match operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    Some(depth + 1)
                }
                Operator::End | Operator::Else if depth == 0 => None,
                Operator::End => Some(depth - 1),
                _ => Some(depth),
            };
            if self.dead.is_some() {
                return Ok(());
            }
        }
        let op = self.op(operator, number)?;
        if matches!(
            op,
            Op::Unreachable | Op::Branch(_) | Op::BranchTable { .. } | Op::Return
        ) {
            self.dead = Some(0);
        }
        self.body.ops.push(op);
        Ok(())
    }

    fn op(&mut self, operator: &Operator<'_>, number: u32) -> Made<Op> {
        let here = self.body.ops.len() as u32;
        let local = |index: u32| -> Made<u16> {
            let index = u16::try_from(index).ok();
            index.ok_or(Refused::Compiler("locals"))
        };
        Ok(match operator {
            Operator::Block { blockty } => {
                self.open.push(here);
                let result = self.result(*blockty)?;
                Op::Block { end: 0, result }
            }
            Operator::Loop { blockty } => {
                self.open.push(here);
                let result = self.result(*blockty)?;
                Op::Loop {
                    number,
                    end: 0,
                    result,
                }
            }
            Operator::If { blockty } => {
                self.open.push(here);
                let result = self.result(*blockty)?;
                Op::If {
                    end: 0,
                    otherwise: 0,
                    result,
                }
            }
            Operator::Else => {
                if let Some(Op::If { otherwise, .. }) = self.opener(self.open.last().copied()) {
                    *otherwise = here;
                }
                Op::Else
            }
            Operator::End => {
                let opener = self.open.pop();
                let is_loop = match self.opener(opener) {
                    Some(Op::Loop { end, .. }) => {
                        *end = here;
                        true
                    }
                    Some(Op::Block { end, .. } | Op::If { end, .. }) => {
                        *end = here;
                        false
                    }
                    _ => false,
                };
                Op::End { is_loop }
            }
            Operator::BrTable { targets } => self.table(targets)?,
            Operator::LocalGet { local_index } => Op::Get(local(*local_index)?),
            Operator::LocalSet { local_index } => Op::Set(local(*local_index)?),
            Operator::LocalTee { local_index } => Op::Tee(local(*local_index)?),
            Operator::GlobalGet { global_index } => {
                match self.module.globals.get(*global_index as usize) {
                    Some(Global::StackBase) => Op::StackBase,
                    Some(Global::Constant(wide, value)) => Op::Const {
                        wide: *wide,
                        value: *value,
                    },
                    None => return Err(Refused::Compiler("globals")),
                }
            }
            other => simple(other)?,
        })
    }

    fn opener(&mut self, number: Option<u32>) -> Option<&mut Op> {
        self.body.ops.get_mut(number? as usize)
    }

    fn result(&self, ty: BlockType) -> Made<Option<Wide>> {
        match ty {
            BlockType::Empty => Ok(None),
            BlockType::Type(ty) => width(ty).map(Some),
            BlockType::FuncType(ty) => self.module.block_result(ty),
        }
    }

    fn table(&mut self, targets: &BrTable<'_>) -> Made<Op> {
        let first = self.body.targets.len() as u32;
        for depth in targets.targets() {
            self.body.targets.push(depth?);
        }
        self.body.targets.push(targets.default());
        Ok(Op::BranchTable {
            first,
            count: targets.len(),
        })
    }
}

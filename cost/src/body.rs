//! What a function's body costs.

use alloc::vec::Vec;

use crate::{PLACE, op, operator};

/// What a function costs, by where it is paid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// What lies in no loop.
    pub entry: u64,
    /// A turn of each loop, in the order in which they begin.
    pub loops: Vec<u64>,
}

/// What reads a body.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// A number of the kind that has its size in its bytes (LEB128), of which 64 bits are looked at.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift < 64 {
                number |= u64::from(byte & 0x7f) << shift;
            }
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn numbers(&mut self, count: u64) -> Option<()> {
        (0..count).try_for_each(|_| self.number().map(drop))
    }

    pub(crate) fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    /// Local variables' declarations; how many they are.
    pub(crate) fn locals(&mut self) -> Option<u64> {
        let mut locals = 0u64;
        for _ in 0..self.number()? {
            locals = locals.saturating_add(self.number()?);
            self.number()?;
        }
        Some(locals)
    }

    /// Goes past what follows `opcode`, which is what the operator works on.
    fn immediates(&mut self, opcode: u8) -> Option<()> {
        match opcode {
            // A block's type is a number, too: of a type, or negative.
            op::BLOCK | op::LOOP | op::IF | op::BR | op::BR_IF | op::CALL => self.numbers(1),
            op::BR_TABLE => {
                let targets = self.number()?;
                self.numbers(targets.checked_add(1)?)
            }
            op::CALL_INDIRECT => self.numbers(2),
            op::SELECT_TYPED => {
                let types = self.number()?;
                self.numbers(types)
            }
            op::LOCAL_GET..=op::TABLE_SET => self.numbers(1),
            op::FIRST_ACCESS..=op::LAST_ACCESS => self.numbers(2),
            op::MEMORY_SIZE | op::MEMORY_GROW => self.numbers(1),
            op::I32_CONST | op::I64_CONST | op::REF_NULL | op::REF_FUNC => self.numbers(1),
            op::PREFIX => {
                let which = self.number()?;
                self.numbers(behind_prefix(which)?)
            }
            op::UNREACHABLE | op::NOP | op::ELSE | op::END | op::RETURN | op::DROP => Some(()),
            op::SELECT | op::REF_IS_NULL | op::FIRST_PLAIN..=op::LAST_PLAIN => Some(()),
            // Floating-point constants, and all that is newer.
            _ => None,
        }
    }
}

/// How many numbers follow an operator behind the prefix.
fn behind_prefix(which: u64) -> Option<u64> {
    match which {
        // memory.init, memory.copy, table.init, table.copy
        8 | 10 | 12 | 14 => Some(2),
        // data.drop, memory.fill, elem.drop, table.grow, table.size, table.fill
        9 | 11 | 13 | 15..=17 => Some(1),
        _ => None,
    }
}

/// Who pays.
#[derive(Clone, Copy)]
enum Payer {
    Entry,
    Loop(usize),
}

/// What is open.
struct Open {
    /// Who pays for what is in it.
    payer: Payer,
    /// Of an `if`: what its payer had to pay before it, and for its first arm, once that is over.
    arms: Option<(u64, u64)>,
}

/// What the function with this body costs, as the module has it: declarations of locals, then operators, down to the last `end`.
/// `None` if it is no such thing.
pub fn function(body: &[u8]) -> Option<Costs> {
    let mut reader = Reader(body);
    reader.locals()?;
    let mut costs = Costs {
        entry: PLACE,
        loops: Vec::new(),
    };
    let mut open = Vec::from([Open {
        payer: Payer::Entry,
        arms: None,
    }]);
    while let Some(top) = open.last() {
        let payer = top.payer;
        let opcode = reader.byte()?;
        reader.immediates(opcode)?;
        let paid = costs.of(payer);
        *paid = paid.saturating_add(operator(opcode));
        let so_far = *paid;
        match opcode {
            op::BLOCK => open.push(Open { payer, arms: None }),
            op::LOOP => {
                let payer = Payer::Loop(costs.loops.len());
                costs.loops.push(PLACE);
                open.push(Open { payer, arms: None });
            }
            op::IF => {
                *paid = so_far.saturating_add(PLACE);
                open.push(Open {
                    payer,
                    arms: Some((so_far, 0)),
                });
            }
            op::ELSE => {
                let (before, first) = open.last_mut()?.arms.as_mut()?;
                *first = so_far - *before;
                *costs.of(payer) = before.saturating_add(PLACE);
            }
            op::END => {
                if let Some((before, first)) = open.pop()?.arms {
                    *costs.of(payer) = before.saturating_add(first.max(so_far - before));
                }
            }
            _ => {}
        }
    }
    reader.0.is_empty().then_some(costs)
}

impl Costs {
    fn of(&mut self, payer: Payer) -> &mut u64 {
        match payer {
            Payer::Entry => &mut self.entry,
            Payer::Loop(number) => &mut self.loops[number],
        }
    }
}

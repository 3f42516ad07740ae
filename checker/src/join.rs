//! Where ways meet: what holds on both, and what is assumed where one goes back.

use alloc::vec::Vec;

use crate::refusal::{NO_MEMORY, Proof, Rule};
use crate::state::{Flags, State, forgotten};
use crate::value::{Id, LOW, Number, Value};

const MEET: &str = "ways meet with different stack pointers";

impl State {
    /// What a jump leaves of it: who comes by another way has no flags to look at.
    pub(crate) fn arrive(&mut self) {
        self.flags = Flags::Undefined;
        self.sign = None;
        self.replace(Value::Paying, Value::Undefined);
    }
}

/// Leaves in `known` what holds of `other`, too.
pub(crate) fn join(known: &mut State, other: &State, id: &mut Id) -> Proof<()> {
    let is_same = known.cells().len() == other.cells().len();
    Rule::Stack.demand(is_same, MEET)?;
    for (a, b) in known.cells_mut().iter_mut().zip(other.cells()) {
        if a != b {
            *id = id.wrapping_add(1);
            *a = a.or(*b, *id);
        }
    }
    known.stored &= other.stored;
    known.limited = known
        .limited
        .filter(|limited| other.limited == Some(*limited));
    known.credit = known.credit.min(other.credit);
    Ok(())
}

/// How much less is assumed of a cell than the edges before it brought: as it is, a number of 32 bits, a number, nothing.
const AS_IT_IS: u8 = 0;
const LOW_NUMBER: u8 = 1;
const NUMBER: u8 = 2;
const NOTHING: u8 = 3;

#[derive(Clone, Copy, Default)]
struct Less {
    level: u8,
    /// Arguments that it may be as well.
    arguments: u8,
}

/// What is assumed where an edge goes back.
pub(crate) struct Assumed {
    state: State,
    less: Vec<Less>,
    /// Neither of these.
    is_unstored: bool,
    is_unlimited: bool,
    /// In this pass its block was come to.
    is_open: bool,
    /// In this pass some edge brought less.
    is_less: bool,
}

impl Assumed {
    /// Assumes of `state`, which the edges before brought, what may hold, in `place` as well.
    pub(crate) fn begin(place: &mut Option<Self>, state: &mut State, id: &mut Id) -> Proof<()> {
        let count = state.cells().len();
        let mut assumed = match place.take() {
            Some(assumed) => assumed,
            None => Self::new(state)?,
        };
        Rule::Stack.demand(assumed.less.len() == count, MEET)?;
        for (cell, less) in state.cells_mut().iter_mut().zip(&assumed.less) {
            if less.level != AS_IT_IS {
                *id = id.wrapping_add(1);
                *cell = lowered(*cell, *less, *id);
            }
        }
        state.stored &= !assumed.is_unstored;
        state.limited = state.limited.filter(|_| !assumed.is_unlimited);
        assumed.state = state.copy()?;
        assumed.is_open = true;
        *place = Some(assumed);
        Ok(())
    }

    fn new(state: &State) -> Proof<Self> {
        let count = state.cells().len();
        let mut less = Vec::new();
        less.try_reserve_exact(count).map_err(|_| NO_MEMORY)?;
        less.resize(count, Less::default());
        Ok(Self {
            state: state.copy()?,
            less,
            // Whoever has it in a register takes some of it off.
            is_unstored: state.cells().contains(&Value::Fuel),
            is_unlimited: false,
            is_open: false,
            is_less: false,
        })
    }

    /// Whether its block was come to in this pass.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// An edge back brings `state`.
    pub(crate) fn meet(&mut self, state: &State) -> Proof<()> {
        let is_same = self.less.len() == state.cells().len();
        Rule::Stack.demand(is_same, MEET)?;
        let is_paid = state.credit >= self.state.credit;
        Rule::Budget.demand(is_paid, "a loop takes more than it pays for")?;
        let cells = state.cells().iter().zip(self.state.cells());
        for ((have, want), less) in cells.zip(&mut self.less) {
            self.is_less |= less.admit(*have, *want);
        }
        for (less, holds) in [
            (&mut self.is_unstored, !self.state.stored || state.stored),
            (
                &mut self.is_unlimited,
                self.state.limited.is_none() || self.state.limited == state.limited,
            ),
        ] {
            if !holds {
                *less = true;
                self.is_less = true;
            }
        }
        Ok(())
    }

    /// Ends a pass; whether all edges back brought what was assumed.
    pub(crate) fn settle(&mut self) -> bool {
        self.is_open = false;
        !core::mem::take(&mut self.is_less)
    }
}

impl Less {
    /// Whether less has to be assumed than `want`, for an edge brings `have`.
    fn admit(&mut self, have: Value, want: Value) -> bool {
        if have == want || want == Value::Undefined {
            return false;
        }
        let (level, arguments) = (self.level, self.arguments);
        match (have.number(0), want.number(0)) {
            (Some(have), Some(want)) => {
                let is_low = have.max <= LOW && want.max <= LOW;
                let holds = match level {
                    AS_IT_IS => want.id != 0 && implies(have, want),
                    _ => have.max <= want.max,
                };
                if !holds {
                    self.level = match is_low {
                        true => LOW_NUMBER.max(level),
                        false => NUMBER,
                    };
                }
                if self.level != AS_IT_IS {
                    self.arguments |= have.arguments;
                }
            }
            _ => self.level = NOTHING,
        }
        (level, arguments) != (self.level, self.arguments)
    }
}

/// Whether a number of which `have` is known is one of which `want` is.
fn implies(have: Number, want: Number) -> bool {
    (have.id, have.form) == (want.id, want.form)
        && have.max <= want.max
        && have.low <= want.low
        && have.zeros >= want.zeros
        && have.not & want.not == want.not
        && have.arguments & !want.arguments == 0
}

/// `value`, of which less is assumed.
fn lowered(value: Value, less: Less, id: Id) -> Value {
    let most = match (less.level, value.most(true)) {
        (NOTHING, _) => return Value::Undefined,
        (LOW_NUMBER, Some(most)) if most <= LOW => LOW,
        _ => u64::MAX,
    };
    match forgotten(value, most, id) {
        Value::Number(mut number) => {
            number.arguments |= less.arguments;
            Value::Number(number)
        }
        other => other,
    }
}

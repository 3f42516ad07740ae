//! Register allocation: a place for each local, for as long as it lives.

use core::cmp::Reverse;

use crate::arena::{Arena, List};
use crate::body::MAX_LOCALS;
use crate::plan::{Life, Plan};
use crate::registers::{Place, Reg, Regs};

/// Registers for locals, the better ones first.
pub(crate) struct Registers<'r> {
    /// Those that a call of the runtime may change.
    pub(crate) volatile: &'r [Reg],
    /// Those that it does not.
    pub(crate) kept: &'r [Reg],
    /// Those that operands would like to have; a call may change them.
    pub(crate) last: &'r [Reg],
}

#[derive(Clone, Copy)]
struct Taken {
    by: Reg,
    from: u32,
    to: u32,
}

/// Whether a local lives over one of these calls.
fn lives_over(life: &Life, calls: &[u32]) -> bool {
    let first = calls.partition_point(|call| *call <= life.from && life.from != 0);
    calls.get(first).is_some_and(|call| *call < life.to)
}

/// Gives each local a place; words of the frame from `slots` on.
pub(crate) fn place<'m>(
    arena: &'m Arena<'m>,
    plan: &Plan<'m>,
    registers: &Registers<'_>,
    slots: &mut u16,
) -> List<'m, Place> {
    let mut order: List<'_, u16> = List::new(arena);
    for (local, life) in plan.lives.iter().enumerate().take(MAX_LOCALS) {
        if life.is_anywhere() {
            order.push(local as u16);
        }
    }
    // Those that are used most, for the time that they take a register.
    order.sort_unstable_by_key(|local| {
        let life = plan.lives.get(usize::from(*local));
        let density = life.map_or(0, |life| {
            let length = u64::from(life.to.saturating_sub(life.from)) + 4;
            life.weight.saturating_mul(1024) / length
        });
        (Reverse(density), *local)
    });
    let mut places = List::filled(arena, plan.lives.len(), Place::None);
    let mut taken: List<'_, Taken> = List::new(arena);
    for local in order.iter() {
        let Some(life) = plan.lives.get(usize::from(*local)) else {
            continue;
        };
        let candidates: [&[Reg]; 3] = match () {
            () if lives_over(life, &plan.own_calls) => [&[], &[], &[]],
            () if lives_over(life, &plan.calls) => [registers.kept, &[], &[]],
            () => [registers.volatile, registers.kept, registers.last],
        };
        let mut busy = Regs::NONE;
        for one in taken.iter() {
            if one.from <= life.to && life.from <= one.to {
                busy.insert(one.by);
            }
        }
        let free = candidates.iter().flat_map(|registers| registers.iter());
        let found = free.copied().find(|r| !busy.has(*r));
        let place = match found {
            Some(by) => {
                let (from, to) = (life.from, life.to);
                taken.push(Taken { by, from, to });
                Place::Reg(by)
            }
            None => {
                *slots += 1;
                Place::Slot(*slots - 1)
            }
        };
        if let Some(entry) = places.get_mut(usize::from(*local)) {
            *entry = place;
        }
    }
    places
}

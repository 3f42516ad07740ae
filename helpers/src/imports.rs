//! The imported functions of a translated module, resolved to code: one call per import, for every engine.
//!
//! An engine registers [`Imported::action`] under the import's name with [`Imported::params`] i64
//! parameters and one i64 result, and needs to know no more. `env.trap` is the engine's own.

use abi::imports::{
    ATOMIC, ATOMICS, AtomicOp, BPF, KFUNC, PACKET_LOADS, PROBE_LOADS, TAIL_CALL_RESULT,
    TAIL_CALL_WITHIN,
};
use abi::traps::Trap;

use crate::atomics;
pub use crate::calls::Action;
use crate::calls::{self, AsValue, Run, Take};
use crate::host::{Host, Result0};

/// What an imported function is.
#[derive(Debug)]
pub struct Imported<T> {
    /// How many i64 parameters it has.
    pub params: usize,
    /// What it does.
    pub action: T,
    /// Whether this crate provides it; if not, calling it traps with [`Trap::NoHelper`].
    pub provided: bool,
}

/// An imported function as a value.
pub type HostFunction<H> = Imported<Action<H>>;

/// The function `module.name`; `None` if no translated module imports such a thing.
pub fn host_function<H: Host>(module: &str, name: &str) -> Option<HostFunction<H>> {
    take_host_function(module, name, AsValue)
}

/// As [`host_function`], with the function taken by its own type.
pub fn take_host_function<H: Host, T: Take<H>>(
    module: &str,
    name: &str,
    take: T,
) -> Option<Imported<T::Taken>> {
    match module {
        BPF => {
            if let Some((_, width)) = PROBE_LOADS.iter().find(|row| row.0 == name) {
                return Some(provided(1, probe_load(*width, take)));
            }
            if let Some((_, width)) = PACKET_LOADS.iter().find(|row| row.0 == name) {
                return Some(provided(2, packet_load(*width, take)));
            }
            match name {
                TAIL_CALL_WITHIN => return Some(provided(4, take.tail_call_within())),
                TAIL_CALL_RESULT => return Some(provided(0, take.call(calls::tail_call_result))),
                _ => {}
            }
            let row = abi::helpers::by_name(name)?;
            Some(known(
                row.args.len(),
                calls::take_implementation(row.id, take),
                take,
            ))
        }
        ATOMIC => {
            let (_, op, width) = ATOMICS.iter().find(|row| row.0 == name)?;
            let params = if *op == AtomicOp::Cmpxchg { 3 } else { 2 };
            let taken = match width {
                4 => atomic::<H, T, 4>(*op, take),
                _ => atomic::<H, T, 8>(*op, take),
            };
            Some(provided(params, taken))
        }
        // Whatever the kernel calls it: eBPF passes five registers at most.
        KFUNC => Some(known(5, calls::kfunc(name, take), take)),
        _ => None,
    }
}

fn provided<T>(params: usize, action: T) -> Imported<T> {
    Imported {
        params,
        action,
        provided: true,
    }
}

/// What was found, or else a function that traps.
fn known<H: Host, T: Take<H>>(
    params: usize,
    found: Option<T::Taken>,
    take: T,
) -> Imported<T::Taken> {
    let is_found = found.is_some();
    Imported {
        params,
        action: found.unwrap_or_else(|| take.call(|_, _| Err(Trap::NoHelper))),
        provided: is_found,
    }
}

fn probe_load<H: Host, T: Take<H>>(width: u32, take: T) -> T::Taken {
    match width {
        1 => take.call(load::<H, 1>),
        2 => take.call(load::<H, 2>),
        4 => take.call(load::<H, 4>),
        _ => take.call(load::<H, 8>),
    }
}

fn load<H: Host, const WIDTH: u32>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    calls::probe_load(run, WIDTH, args[0])
}

fn packet_load<H: Host, T: Take<H>>(width: u32, take: T) -> T::Taken {
    match width {
        1 => take.call(load_packet::<H, 1>),
        2 => take.call(load_packet::<H, 2>),
        _ => take.call(load_packet::<H, 4>),
    }
}

fn load_packet<H: Host, const WIDTH: u32>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    calls::packet_load(run, WIDTH, args[0], args[1])
}

fn atomic<H: Host, T: Take<H>, const WIDTH: u32>(op: AtomicOp, take: T) -> T::Taken {
    macro_rules! perform {
        ($op:ident) => {
            take.call(|run, [pointer, a, b, ..]| {
                atomics::perform(run.space.memory(), AtomicOp::$op, WIDTH, pointer, a, b)
            })
        };
    }
    match op {
        AtomicOp::Add => perform!(Add),
        AtomicOp::Or => perform!(Or),
        AtomicOp::And => perform!(And),
        AtomicOp::Xor => perform!(Xor),
        AtomicOp::Xchg => perform!(Xchg),
        AtomicOp::Cmpxchg => perform!(Cmpxchg),
    }
}

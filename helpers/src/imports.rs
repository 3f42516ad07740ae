//! The imported functions of a translated module, resolved to code: one call per import, for every engine.
//!
//! An engine registers [`HostFunction::action`] under the import's name with [`HostFunction::params`] i64
//! parameters and one i64 result, and needs to know no more. `env.trap` is the engine's own.

use abi::helpers::TAIL_CALL;
use abi::imports::{ATOMIC, ATOMICS, AtomicOp, BPF, KFUNC, PACKET_LOADS, PROBE_LOADS};
use abi::traps::Trap;

use crate::atomics;
use crate::calls::{self, CallbackImplementation, Implementation, Run};
use crate::host::{Host, Result0};

/// What an imported function is.
#[derive(Debug)]
pub struct HostFunction<H> {
    /// How many i64 parameters it has.
    pub params: usize,
    /// What it does.
    pub action: Action<H>,
    /// Whether this crate provides it; if not, calling it traps with [`Trap::NoHelper`].
    pub provided: bool,
}

/// What an imported function does, by what it needs of the engine.
#[derive(Clone, Copy, Debug)]
pub enum Action<H> {
    /// Returns to the program, or ends the run with a trap.
    Call(Implementation<H>),
    /// [`calls::tail_call`]: may end the program in favour of another.
    TailCall,
    /// Calls functions of the module meanwhile.
    Callback(CallbackImplementation<H>),
}

/// The function `module.name`; `None` if no translated module imports such a thing.
pub fn host_function<H: Host>(module: &str, name: &str) -> Option<HostFunction<H>> {
    match module {
        BPF => probe_load(name)
            .or_else(|| packet_load(name))
            .or_else(|| helper(name)),
        ATOMIC => atomic(name),
        // Whatever the kernel calls it: eBPF passes five registers at most.
        KFUNC => Some(match calls::kfunc(name) {
            Some(run) => provided(5, run),
            None => missing(5),
        }),
        _ => None,
    }
}

fn helper<H: Host>(name: &str) -> Option<HostFunction<H>> {
    let row = abi::helpers::by_name(name)?;
    let params = row.args.len();
    let action = match row.id {
        TAIL_CALL => Some(Action::TailCall),
        id => calls::implementation(id)
            .map(Action::Call)
            .or_else(|| calls::callback_implementation(id).map(Action::Callback)),
    };
    Some(match action {
        Some(action) => HostFunction {
            params,
            action,
            provided: true,
        },
        None => missing(params),
    })
}

fn probe_load<H: Host>(name: &str) -> Option<HostFunction<H>> {
    let (_, width) = PROBE_LOADS.iter().find(|row| row.0 == name)?;
    Some(provided(
        1,
        match width {
            1 => load::<H, 1>,
            2 => load::<H, 2>,
            4 => load::<H, 4>,
            _ => load::<H, 8>,
        },
    ))
}

fn load<H: Host, const WIDTH: u32>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    Ok(calls::probe_load(run, WIDTH, args[0]))
}

fn packet_load<H: Host>(name: &str) -> Option<HostFunction<H>> {
    let (_, width) = PACKET_LOADS.iter().find(|row| row.0 == name)?;
    Some(provided(
        2,
        match width {
            1 => load_packet::<H, 1>,
            2 => load_packet::<H, 2>,
            _ => load_packet::<H, 4>,
        },
    ))
}

fn load_packet<H: Host, const WIDTH: u32>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    calls::packet_load(run, WIDTH, args[0], args[1])
}

fn atomic<H: Host>(name: &str) -> Option<HostFunction<H>> {
    let (_, op, width) = ATOMICS.iter().find(|row| row.0 == name)?;
    let run: Implementation<H> = match width {
        4 => read_modify_write::<H, 4>(*op),
        _ => read_modify_write::<H, 8>(*op),
    };
    let params = if *op == AtomicOp::Cmpxchg { 3 } else { 2 };
    Some(provided(params, run))
}

fn read_modify_write<H: Host, const WIDTH: u32>(op: AtomicOp) -> Implementation<H> {
    macro_rules! perform {
        ($op:ident) => {
            |run, [pointer, a, b, ..]| {
                atomics::perform(run.space.memory(), AtomicOp::$op, WIDTH, pointer, a, b)
            }
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

fn provided<H>(params: usize, run: Implementation<H>) -> HostFunction<H> {
    HostFunction {
        params,
        action: Action::Call(run),
        provided: true,
    }
}

fn missing<H>(params: usize) -> HostFunction<H> {
    HostFunction {
        params,
        action: Action::Call(|_, _| Err(Trap::NoHelper)),
        provided: false,
    }
}

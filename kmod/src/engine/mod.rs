//! The engines: wasmi, an interpreter, set up so that a run allocates nothing and always ends; and native code.
//!
//! * [`config`]: limits of validation and execution.
//! * [`slot`]: a store and the right to use it; one for each CPU, or one for an exclusive module.
//! * [`warm`]: makes wasmi allocate what runs need before the first one.
//! * [`imports`]: what a module may import, resolved for wasmi.
//! * [`native`]: the other engine.
//! * [`trap`]: why a run ended early.

pub(crate) mod config;
pub(crate) mod imports;
pub(crate) mod native;
pub(crate) mod slot;
pub(crate) mod trap;
pub(crate) mod warm;

use slot::RunState;
use trap::Stop;
use wasmi::{Store, TypedFunc};

/// A program in one CPU's store, on whichever engine its module is.
#[derive(Clone, Copy)]
pub(crate) enum Function {
    /// Interpreted.
    Wasmi(TypedFunc<i64, i64>),
    /// Compiled.
    Native(native::Function),
}

impl Function {
    /// Runs it on `argument`, with what is left of the budget, `fuel`.
    #[inline]
    pub(crate) fn run(
        self,
        store: &mut Store<RunState>,
        argument: u64,
        fuel: &mut u64,
    ) -> Result<(), Stop> {
        match self {
            Self::Wasmi(function) => {
                store.set_fuel(*fuel)?;
                let result = function.call(&mut *store, argument as i64);
                if result.is_err() {
                    *fuel = store.get_fuel()?;
                }
                result.map(drop).map_err(Stop::Engine)
            }
            Self::Native(function) => Ok(function.run(store, argument, fuel)?),
        }
    }
}

//! Makes an engine allocate its stacks.
//!
//! wasmi allocates them at the first call and grows the frames' one as calls nest; a host function in which functions run has a
//! further one. So a function that calls itself to the limit runs once on each stack of a new engine; afterwards nothing
//! is left to allocate.

use abi::layout::NESTED_DEPTH;
use wasmi::{Caller, Error, Func, Instance, Module, Store};

use super::config::MAX_DEPTH;
use super::slot::RunState;

/// `(module (import "" "h" (func (param i32)))
///   (func (export "w") (param i32) (if (local.get 0)
///     (then (call 1 (i32.sub (local.get 0) (i32.const 1))))))
///   (func (export "n") (param i32) (call 0 (local.get 0))))`
const RECURSION: &[u8] = &[
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // magic, version
    0x01, 0x05, 0x01, 0x60, 0x01, 0x7f, 0x00, // type 0: (i32) -> ()
    0x02, 0x06, 0x01, 0x00, 0x01, 0x68, 0x00, 0x00, // import "" "h": function 0, type 0
    0x03, 0x03, 0x02, 0x00, 0x00, // functions 1 and 2: type 0
    0x07, 0x09, 0x02, 0x01, 0x77, 0x00, 0x01, 0x01, 0x6e, 0x00,
    0x02, // exports "w": 1, "n": 2
    0x0a, 0x17, 0x02, 0x0e, 0x00, // code: two bodies, the first without locals
    0x20, 0x00, 0x04, 0x40, // local.get 0, if
    0x20, 0x00, 0x41, 0x01, 0x6b, 0x10, 0x01, // call 1 (local 0 - 1)
    0x0b, 0x0b, // end, end
    0x06, 0x00, 0x20, 0x00, 0x10, 0x00, 0x0b, // call 0 (local 0), end
];

/// Runs the recursion in `store`, on as many stacks as nested runs can need.
pub(crate) fn warm(store: &mut Store<RunState>) -> Result<(), Error> {
    let module = Module::new(store.engine(), RECURSION)?;
    let nest = Func::wrap(&mut *store, nest);
    let instance = Instance::new(&mut *store, &module, &[nest.into()])?;
    store.set_fuel(u64::from(u32::MAX))?;
    instance
        .get_typed_func::<i32, ()>(&*store, "w")?
        .call(&mut *store, MAX_DEPTH as i32 - 1)?;
    instance
        .get_typed_func::<i32, ()>(&*store, "n")?
        .call(store, NESTED_DEPTH as i32)
}

/// Calls both exports on the next stack, `left` stacks deep.
fn nest(mut caller: Caller<'_, RunState>, left: i32) -> Result<(), Error> {
    if left == 0 {
        return Ok(());
    }
    for (name, argument) in [("w", MAX_DEPTH as i32 - 1), ("n", left - 1)] {
        let export = caller.get_export(name).and_then(|item| item.into_func());
        let function = export.ok_or_else(|| Error::new("an export is missing"))?;
        function
            .typed::<i32, ()>(&caller)?
            .call(&mut caller, argument)?;
    }
    Ok(())
}

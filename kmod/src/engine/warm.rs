//! Makes an engine allocate its stacks.
//!
//! wasmi allocates them at the first call and grows the frames' one as calls nest. So a function that
//! calls itself to the limit runs once in every new engine; afterwards nothing is left to allocate.

use wasmi::{Error, Instance, Module, Store};

use super::config::MAX_DEPTH;
use super::slot::RunState;

/// `(module (func (export "w") (param i32) (if (local.get 0)
///   (then (call 0 (i32.sub (local.get 0) (i32.const 1)))))))`
const RECURSION: &[u8] = &[
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // magic, version
    0x01, 0x05, 0x01, 0x60, 0x01, 0x7f, 0x00, // type 0: (i32) -> ()
    0x03, 0x02, 0x01, 0x00, // function 0: type 0
    0x07, 0x05, 0x01, 0x01, 0x77, 0x00, 0x00, // export "w": function 0
    0x0a, 0x10, 0x01, 0x0e, 0x00, // code: one body, no locals
    0x20, 0x00, 0x04, 0x40, // local.get 0, if
    0x20, 0x00, 0x41, 0x01, 0x6b, 0x10, 0x00, // call 0 (local 0 - 1)
    0x0b, 0x0b, // end, end
];

/// Runs the recursion in `store`.
pub(crate) fn warm(store: &mut Store<RunState>) -> Result<(), Error> {
    let module = Module::new(store.engine(), RECURSION)?;
    let instance = Instance::new(&mut *store, &module, &[])?;
    store.set_fuel(u64::from(u32::MAX))?;
    instance
        .get_typed_func::<i32, ()>(&*store, "w")?
        .call(store, MAX_DEPTH as i32 - 1)
}

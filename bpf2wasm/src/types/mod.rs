//! What registers hold: pointer classes and known numbers by forward dataflow, liveness by backward dataflow, widths by webs.
//!
//! **Invariant:** nothing here guards the sandbox. A wrong class makes a program read the wrong place of its
//! own memory; wasm's bounds check and the runtime's argument checks stand under it.

mod constants;
mod guards;
mod infer;
mod lattice;
mod liveness;
mod places;
mod state;
mod uses;
mod webs;

pub(crate) use constants::{Constants, constants};
pub(crate) use guards::guarded;
pub(crate) use infer::{Entry, Facts, Scope, infer};
pub(crate) use liveness::{Live, live};
pub(crate) use places::check as check_places;
pub(crate) use uses::{Base, Narrowing, arity, narrowing};
pub(crate) use webs::{Input, Webs, webs};

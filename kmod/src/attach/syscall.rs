//! Hand-written modules: a syscall's arguments as a function's parameters.

use abi::uapi::{LINK_ARGS, SYSCALL_ARGS, SyscallArg};

use super::error::LinkError;
use crate::module::Module;
use crate::program::Buffer;

/// The parameter that is a string, if one is, and the module's buffer for it.
pub(super) fn string(
    module: &Module,
    program: &str,
    takes: usize,
    args: &[u8; LINK_ARGS],
) -> Result<Option<(usize, Buffer)>, LinkError> {
    let given = args
        .iter()
        .take_while(|arg| **arg != SyscallArg::None as u8)
        .count();
    if given < takes || given > SYSCALL_ARGS {
        return Err(LinkError::Parameters {
            program: program.into(),
            takes,
            given,
        });
    }
    let refuse = |why| LinkError::Strings {
        program: program.into(),
        why,
    };
    let mut strings = (0..takes).filter(|at| args[*at] != SyscallArg::Scalar as u8);
    let Some(index) = strings.next() else {
        return Ok(None);
    };
    if args[index] != SyscallArg::String as u8 {
        return Err(refuse("an argument is neither scalar nor string"));
    }
    if strings.next().is_some() {
        return Err(refuse(
            "takes more than one string, and there is one buffer",
        ));
    }
    let buffer = module.own.as_ref().and_then(|own| own.buffer);
    buffer
        .map(|buffer| Some((index, buffer)))
        .ok_or_else(|| refuse("takes a string, and the module exports no `buffer` in its memory"))
}

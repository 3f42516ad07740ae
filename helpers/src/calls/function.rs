//! Arguments and result of a traced function. They are its context; how many there are, and whether a result is
//! there, the runtime leaves at [`FUNCTION_INFO`].

use abi::layout::{FUNCTION_INFO, FUNCTION_RETURNS};
use abi::traps::Trap;

use super::Run;
use crate::host::{Errno, Host, Result0};

/// How many arguments there are, and whether a result follows them.
fn info<H: Host>(run: &Run<'_, H>, context: u64) -> Result<(u32, bool), Trap> {
    let at = context.wrapping_add(u64::from(FUNCTION_INFO));
    let info = run.slice(at, 8)?.word_at(0);
    Ok((info as u32, info & FUNCTION_RETURNS != 0))
}

/// Copies word `index` of the context to `to`.
fn copy<H: Host>(run: &Run<'_, H>, context: u64, index: u32, to: u64) -> Result0 {
    let at = context.wrapping_add(8 * u64::from(index));
    let word = run.slice(at, 8)?.word_at(0);
    run.slice(to, 8)?.write(&word.to_le_bytes());
    Ok(0)
}

pub(super) fn get_func_arg<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [context, index, to, ..] = args;
    let (count, _) = info(run, context)?;
    match index as u32 {
        index if index < count => copy(run, context, index, to),
        _ => Ok(Errno::EINVAL.as_r0()),
    }
}

pub(super) fn get_func_ret<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [context, to, ..] = args;
    match info(run, context)? {
        (count, true) => copy(run, context, count, to),
        (_, false) => Ok(Errno::EOPNOTSUPP.as_r0()),
    }
}

pub(super) fn get_func_arg_cnt<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    Ok(u64::from(info(run, args[0])?.0))
}

/// 0 where what was hit is no function.
pub(super) fn get_func_ip<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.function_ip(run.context))
}

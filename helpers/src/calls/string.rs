//! Strings in guest memory: `strncmp`, `strtol`, `strtoul` (`kernel/bpf/helpers.c`).

use abi::layout::guest_offset;
use core::cmp::Ordering;

use super::Run;
use crate::guest::GuestSlice;
use crate::host::{Errno, Host, Result0};
use crate::work::price;

/// `ERANGE`: a number too large.
const ERANGE: Errno = Errno(34);
/// `BPF_STRTOX_BASE_MASK`.
const BASE_MASK: u64 = 0x1f;
/// Bytes of a number that are looked at, sign and spaces not counted.
const MAX_DIGITS: usize = 63;
/// Bytes that are paid for together, before they are compared.
const PART: usize = 16;

/// -1, 0 or 1, as the kernel's `strncmp` has it.
pub(super) fn strncmp<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let memory = run.space.memory();
    let left = memory.slice(args[0], u64::from(args[1] as u32))?;
    let room = guest_offset(args[2]).map_or(0, |at| memory.size().saturating_sub(at));
    let right = memory.slice(args[2], u64::from(room).min(left.len() as u64))?;
    for at in 0..left.len() {
        // Strings are mostly shorter than they may be.
        if at % PART == 0 {
            run.work.units(PART as u64 * 2 * price::CHARACTER)?;
        }
        let (a, b) = (left.byte(at), right.byte(at));
        match a.cmp(&b) {
            Ordering::Less => return Ok(u64::MAX),
            Ordering::Greater => return Ok(1),
            Ordering::Equal if a == 0 => break,
            Ordering::Equal => {}
        }
    }
    Ok(0)
}

/// A number at the start of a text.
struct Parsed {
    negative: bool,
    value: u64,
    /// Bytes of the text it took.
    consumed: usize,
}

fn parse(text: GuestSlice<'_>, flags: u64) -> Result<Parsed, Errno> {
    let base = flags & BASE_MASK;
    if text.is_empty() || flags & !BASE_MASK != 0 || !matches!(base, 0 | 8 | 10 | 16) {
        return Err(Errno::EINVAL);
    }
    let is_space = |byte: u8| matches!(byte, b' ' | 0x09..=0x0d | 0xa0);
    let spaces = (0..text.len())
        .take_while(|at| is_space(text.byte(*at)))
        .count();
    let negative = text.byte(spaces) == b'-';
    let start = spaces + usize::from(negative);
    let digits = text.from(start).first(MAX_DIGITS);
    let hex_follows = digits.byte(0) == b'0'
        && digits.byte(1).eq_ignore_ascii_case(&b'x')
        && digits.byte(2).is_ascii_hexdigit();
    let radix = match base {
        0 if hex_follows => 16,
        0 if digits.byte(0) == b'0' => 8,
        0 => 10,
        base => base as u32,
    };
    let prefix = digits.byte(0) == b'0' && digits.byte(1).eq_ignore_ascii_case(&b'x');
    let mut at = if radix == 16 && prefix { 2 } else { 0 };
    let first = at;
    let mut value = Some(0u64);
    while let Some(digit) = char::from(digits.byte(at)).to_digit(radix) {
        let shifted = value.and_then(|value| value.checked_mul(u64::from(radix)));
        value = shifted.and_then(|value| value.checked_add(u64::from(digit)));
        at += 1;
    }
    if at == first {
        return Err(Errno::EINVAL);
    }
    Ok(Parsed {
        negative,
        value: value.ok_or(ERANGE)?,
        consumed: start + at,
    })
}

/// Parses, stores what `convert` makes of the number, or 0 on an error; the bytes consumed.
fn store<H: Host>(
    run: &Run<'_, H>,
    args: [u64; 5],
    convert: impl FnOnce(&Parsed) -> Result<u64, Errno>,
) -> Result0 {
    let [text, length, flags, to, _] = args;
    let text = run.slice(text, u64::from(length as u32))?;
    let to = run.slice(to, 8)?;
    // All of it may be spaces.
    run.work
        .units(price::NUMBER + text.len() as u64 * price::CHARACTER)?;
    to.clear();
    let parsed = parse(text, flags).and_then(|parsed| Ok((convert(&parsed)?, parsed.consumed)));
    Ok(match parsed {
        Ok((value, consumed)) => {
            to.write(&value.to_ne_bytes());
            consumed as u64
        }
        Err(errno) => errno.as_r0(),
    })
}

pub(super) fn strtol<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    store(run, args, |parsed| {
        let limit = i64::MAX as u64 + u64::from(parsed.negative);
        match parsed.value {
            value if value > limit => Err(ERANGE),
            value if parsed.negative => Ok(value.wrapping_neg()),
            value => Ok(value),
        }
    })
}

pub(super) fn strtoul<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    store(run, args, |parsed| match parsed.negative {
        true => Err(Errno::EINVAL),
        false => Ok(parsed.value),
    })
}

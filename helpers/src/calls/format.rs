//! Formatted output: `snprintf`, `trace_printk`, `trace_vprintk` (`bpf_bprintf_prepare` in
//! `kernel/bpf/helpers.c`, and the parts of `lib/vsprintf.c` that it lets through).
//!
//! Known: `%[0 +-][width]` before `d i u x X` with `l` and `ll`, `c`, `s` and `pks`, `pus`, `p`, `pK`, `px`,
//! `pI4 pi4 pI6 pi6`, and symbols (`ps`, `pS`, `pB`). What plain pointers show, and how symbols are called, the host says.
//!
//! A format is walked twice: once to check it, as the kernel does before it writes anything. The guest
//! may change it in between; then it gets what it asked for the second time. Each time it pays for each character of
//! the format, and for each byte that is written, before it is.

use abi::traps::Trap;

use super::sink::{MAX_LINE, Sink, Target};
use super::{Run, probe};
use crate::guest::GuestSlice;
use crate::host::{Errno, Host, POINTER_TEXT, Result0};
use crate::work::{Stop, price};

/// `MAX_BPRINTF_VARARGS`.
const MAX_ARGS: usize = 12;

/// Bytes of a text whose end is looked for at a time.
const PART: usize = 256;

/// `[0 +-][width]`.
#[derive(Clone, Copy, Default)]
struct Field {
    zero: bool,
    plus: bool,
    space: bool,
    left: bool,
    width: usize,
}

/// Whose memory a string is in.
#[derive(Clone, Copy)]
enum Origin {
    User,
    Kernel,
    /// As the address says.
    Either,
}

/// A conversion.
#[derive(Clone, Copy)]
enum Conversion {
    Signed {
        long: bool,
    },
    Unsigned {
        long: bool,
        radix: u64,
        upper: bool,
    },
    Char,
    /// A string in kernel memory, user memory, or whichever the address says.
    Str(Origin),
    /// A pointer as it is.
    Pointer,
    /// What the host says of a pointer, by the letter after `p`, or a space.
    Host(u8),
    Address {
        bytes: usize,
        upper: bool,
    },
}

/// Walks a format.
struct Format<'a> {
    text: GuestSlice<'a>,
    at: usize,
}

impl Format<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.byte(self.at + ahead)
    }

    fn take(&mut self) -> u8 {
        let byte = self.peek(0);
        self.at += 1;
        byte
    }

    fn field(&mut self) -> Field {
        let mut field = Field::default();
        loop {
            match self.peek(0) {
                b'0' => field.zero = true,
                b'+' => field.plus = true,
                b' ' => field.space = true,
                b'-' => field.left = true,
                _ => break,
            }
            self.at += 1;
        }
        while self.peek(0).is_ascii_digit() {
            let digit = usize::from(self.take() - b'0');
            // The kernel's FIELD_WIDTH_MAX is far beyond any buffer here.
            field.width = (field.width * 10 + digit).min(MAX_LINE);
        }
        field
    }

    /// What follows a string's or plain pointer's conversion must end it.
    fn ends(&self) -> bool {
        let next = self.peek(0);
        next == 0 || next.is_ascii_whitespace() || next == 0x0b || next.is_ascii_punctuation()
    }

    fn conversion(&mut self) -> Option<Conversion> {
        let mut long = false;
        match self.peek(0) {
            b'p' => return self.pointer(),
            b's' => {
                self.at += 1;
                return self.ends().then_some(Conversion::Str(Origin::Either));
            }
            b'c' => {
                self.at += 1;
                return Some(Conversion::Char);
            }
            _ => {}
        }
        for _ in 0..2 {
            if self.peek(0) == b'l' {
                long = true;
                self.at += 1;
            }
        }
        let unsigned = |radix, upper| Conversion::Unsigned { long, radix, upper };
        match self.take() {
            b'd' | b'i' => Some(Conversion::Signed { long }),
            b'u' => Some(unsigned(10, false)),
            b'x' => Some(unsigned(16, false)),
            b'X' => Some(unsigned(16, true)),
            _ => None,
        }
    }

    fn pointer(&mut self) -> Option<Conversion> {
        self.at += 1;
        match (self.peek(0), self.peek(1)) {
            (kind @ (b'k' | b'u'), b's') => {
                self.at += 2;
                let origin = match kind {
                    b'u' => Origin::User,
                    _ => Origin::Kernel,
                };
                self.ends().then_some(Conversion::Str(origin))
            }
            (kind @ (b'i' | b'I'), family @ (b'4' | b'6')) => {
                self.at += 2;
                let bytes = if family == b'4' { 4 } else { 16 };
                let upper = kind == b'I';
                Some(Conversion::Address { bytes, upper })
            }
            (b'x', _) => {
                self.at += 1;
                Some(Conversion::Pointer)
            }
            (kind @ (b'K' | b's' | b'S' | b'B'), _) => {
                self.at += 1;
                Some(Conversion::Host(kind))
            }
            _ if self.ends() => Some(Conversion::Host(b' ')),
            _ => None,
        }
    }
}

/// The text that `slice` begins with, up to its NUL. It pays for no more than it looks at.
fn text_of<'a, H>(run: &Run<'_, H>, slice: GuestSlice<'a>) -> Result<GuestSlice<'a>, Stop> {
    for at in (0..slice.len()).step_by(PART) {
        let part = slice.from(at).first(PART);
        run.work.bytes(part.len() as u64)?;
        if let Some(nul) = part.find_nul() {
            return Ok(slice.first(at + nul));
        }
    }
    Err(Errno::EINVAL.into())
}

/// Writes `args` to `sink` as the format `text` says.
fn format<H: Host>(
    run: &Run<'_, H>,
    text: GuestSlice<'_>,
    args: &[u64],
    sink: &mut Sink<'_>,
) -> Result<(), Stop> {
    let text = text_of(run, text)?;
    let mut format = Format { text, at: 0 };
    let mut args = args.iter();
    // What is looked at, and written where it is no conversion.
    run.work.units(2 * price::CHARACTER * text.len() as u64)?;
    while format.at < text.len() {
        let byte = format.take();
        // What is not ASCII passes, as in newer kernels and stable ones.
        let control = byte.is_ascii_control() && !byte.is_ascii_whitespace() && byte != 0x0b;
        match byte {
            _ if control => return Err(Errno::EINVAL.into()),
            b'%' if format.peek(0) == b'%' => {
                format.at += 1;
                sink.byte(b'%');
            }
            b'%' => {
                let arg = args.next().ok_or(Errno::EINVAL)?;
                let field = format.field();
                let conversion = format.conversion().ok_or(Errno::EINVAL)?;
                sink.pay(run.work, field.width)?;
                convert(run, field, conversion, *arg, sink)?;
            }
            _ => sink.byte(byte),
        }
    }
    Ok(())
}

/// Writes `arg`; the field's width is paid for.
fn convert<H: Host>(
    run: &Run<'_, H>,
    field: Field,
    conversion: Conversion,
    arg: u64,
    sink: &mut Sink<'_>,
) -> Result<(), Trap> {
    run.work.units(price::NUMBER)?;
    match conversion {
        Conversion::Signed { long } => {
            let value = if long {
                arg as i64
            } else {
                i64::from(arg as i32)
            };
            number(field, value < 0, value.unsigned_abs(), 10, false, sink);
        }
        Conversion::Unsigned { long, radix, upper } => {
            let value = if long { arg } else { u64::from(arg as u32) };
            let field = Field {
                plus: false,
                space: false,
                ..field
            };
            number(field, false, value, radix, upper, sink);
        }
        Conversion::Char => text(field, &[arg as u8], sink),
        Conversion::Str(origin) => {
            let user = match origin {
                Origin::User => true,
                Origin::Kernel => false,
                Origin::Either => probe::is_user(run, arg),
            };
            string(run, field, user, arg, sink)?;
        }
        Conversion::Pointer => {
            let field = Field {
                zero: true,
                width: 16,
                ..Field::default()
            };
            number(field, false, arg, 16, false, sink);
        }
        Conversion::Host(kind) => {
            let symbol = matches!(kind, b's' | b'S' | b'B');
            run.work.units(match symbol {
                true => price::SYMBOL,
                false => price::POINTER,
            })?;
            host_text(run, field, kind, arg, sink)?;
        }
        Conversion::Address { bytes, upper } => address(run, bytes, upper, arg, sink)?,
    }
    Ok(())
}

fn number(field: Field, negative: bool, value: u64, radix: u64, upper: bool, sink: &mut Sink<'_>) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = value;
    loop {
        first -= 1;
        let digit = (rest % radix) as u8;
        let letter = if upper { b'A' } else { b'a' };
        digits[first] = if digit < 10 {
            b'0' + digit
        } else {
            letter + digit - 10
        };
        rest /= radix;
        if rest == 0 {
            break;
        }
    }
    let digits = &digits[first..];
    let sign = match (negative, field.plus, field.space) {
        (true, ..) => Some(b'-'),
        (_, true, _) => Some(b'+'),
        (_, _, true) => Some(b' '),
        _ => None,
    };
    let missing = field
        .width
        .saturating_sub(digits.len() + usize::from(sign.is_some()));
    let (before, zeros, after) = match (field.left, field.zero) {
        (true, _) => (0, 0, missing),
        (_, true) => (0, missing, 0),
        _ => (missing, 0, 0),
    };
    sink.pad(before, b' ');
    sink.bytes(sign.as_slice());
    sink.pad(zeros, b'0');
    sink.bytes(digits);
    sink.pad(after, b' ');
}

fn text(field: Field, bytes: &[u8], sink: &mut Sink<'_>) {
    let missing = field.width.saturating_sub(bytes.len());
    if !field.left {
        sink.pad(missing, b' ');
    }
    sink.bytes(bytes);
    if field.left {
        sink.pad(missing, b' ');
    }
}

/// The string at `from`; nothing if it cannot be read.
fn string<H: Host>(
    run: &Run<'_, H>,
    field: Field,
    user: bool,
    from: u64,
    sink: &mut Sink<'_>,
) -> Result<(), Trap> {
    let mut bytes = [0; MAX_LINE];
    run.work.bytes(MAX_LINE as u64)?;
    let length = read(run, user, from, true, &mut bytes)?.unwrap_or(0);
    sink.pay(run.work, length)?;
    text(field, &bytes[..length], sink);
    Ok(())
}

/// Fills `to` with what lies at `from`, or only up to a NUL there; how many bytes that are. `None` if not all could be read.
fn read<H: Host>(
    run: &Run<'_, H>,
    user: bool,
    from: u64,
    text: bool,
    to: &mut [u8],
) -> Result<Option<usize>, Trap> {
    let mut length = 0;
    while length < to.len() {
        run.work.bytes(8)?;
        let Some((word, count)) = probe::word(run, user, from.wrapping_add(length as u64))? else {
            return Ok(None);
        };
        for byte in &word.to_le_bytes()[..count.min(to.len() - length)] {
            if text && *byte == 0 {
                return Ok(Some(length));
            }
            to[length] = *byte;
            length += 1;
        }
    }
    Ok(Some(length))
}

/// What the host says of a pointer.
#[inline(never)]
fn host_text<H: Host>(
    run: &Run<'_, H>,
    field: Field,
    kind: u8,
    arg: u64,
    sink: &mut Sink<'_>,
) -> Result<(), Trap> {
    let mut bytes = [0; POINTER_TEXT];
    sink.pay(run.work, POINTER_TEXT)?;
    let length = run.host.pointer_text(kind, arg, &mut bytes);
    text(field, bytes.get(..length).unwrap_or_default(), sink);
    Ok(())
}

/// An IP address in kernel memory; zeros if it cannot be read.
fn address<H: Host>(
    run: &Run<'_, H>,
    bytes: usize,
    upper: bool,
    from: u64,
    sink: &mut Sink<'_>,
) -> Result<(), Trap> {
    // Each a number of three digits at most, and what stands between.
    run.work
        .units(bytes as u64 * (price::NUMBER / 4 + 4 * price::CHARACTER))?;
    let mut address = [0; 16];
    if read(run, false, from, false, &mut address[..bytes])?.is_none() {
        address = [0; 16];
    }
    let digits = |width| Field {
        zero: true,
        width,
        ..Field::default()
    };
    for (at, byte) in address[..bytes].iter().enumerate() {
        if bytes == 4 {
            sink.bytes(if at > 0 { b"." } else { b"" });
            let width = if upper { 0 } else { 3 };
            number(digits(width), false, u64::from(*byte), 10, false, sink);
        } else {
            sink.bytes(if upper && at > 0 && at % 2 == 0 {
                b":"
            } else {
                b""
            });
            number(digits(2), false, u64::from(*byte), 16, false, sink);
        }
    }
    Ok(())
}

/// Copies `length` bytes of arguments out of guest memory.
fn arguments<H>(
    run: &Run<'_, H>,
    data: u64,
    length: u64,
) -> Result<Result<([u64; MAX_ARGS], usize), Errno>, Trap> {
    run.work.units(price::LOAD)?;
    let slice = run.slice(data, u64::from(length as u32))?;
    let count = slice.len() / 8;
    if !slice.len().is_multiple_of(8) || count > MAX_ARGS {
        return Ok(Err(Errno::EINVAL));
    }
    let mut args = [0; MAX_ARGS];
    for (at, arg) in args[..count].iter_mut().enumerate() {
        *arg = slice.word_at(at * 8);
    }
    Ok(Ok((args, count)))
}

/// The length with NUL, or what is wrong; the buffer is left alone then.
pub(super) fn snprintf<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [to, size, fmt, data, length] = args;
    let memory = run.space.memory();
    // What is written, and how much of the format is looked at, is paid for where it is.
    let to = memory.slice(to, u64::from(size as u32))?;
    let room = abi::layout::guest_offset(fmt).map_or(0, |at| memory.size().saturating_sub(at));
    let fmt = memory.slice(fmt, u64::from(room))?;
    let (args, count) = match arguments(run, data, length)? {
        Ok(args) => args,
        Err(errno) => return Ok(errno.as_r0()),
    };
    let mut checked = Sink {
        to: Target::Nowhere,
        length: 0,
    };
    if let Err(stop) = format(run, fmt, &args[..count], &mut checked) {
        return stop.r0();
    }
    let mut sink = Sink {
        to: Target::Guest(to),
        length: 0,
    };
    if let Err(stop) = format(run, fmt, &args[..count], &mut sink) {
        return stop.r0();
    }
    if let Some(last) = to.len().checked_sub(1) {
        to.set(sink.length.min(last), 0);
    }
    Ok(sink.length as u64 + 1)
}

fn print<H: Host>(run: &Run<'_, H>, fmt: GuestSlice<'_>, args: &[u64]) -> Result0 {
    run.work.bytes(MAX_LINE as u64)?;
    let mut line = [0; MAX_LINE];
    let mut sink = Sink {
        to: Target::Line(&mut line),
        length: 0,
    };
    if let Err(stop) = format(run, fmt, args, &mut sink) {
        return stop.r0();
    }
    let length = sink.length;
    let line = &line[..length.min(MAX_LINE)];
    run.work
        .units(price::TRACE + line.len() as u64 / price::BYTES)?;
    run.host.trace(line);
    Ok(length as u64)
}

pub(super) fn trace_printk<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let fmt = run
        .space
        .memory()
        .slice(args[0], u64::from(args[1] as u32))?;
    print(run, fmt, &args[2..])
}

pub(super) fn trace_vprintk<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let fmt = run
        .space
        .memory()
        .slice(args[0], u64::from(args[1] as u32))?;
    match arguments(run, args[2], args[3])? {
        Ok((args, count)) => print(run, fmt, &args[..count]),
        Err(errno) => Ok(errno.as_r0()),
    }
}

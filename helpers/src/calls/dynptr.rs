//! Dynptrs: pointers with a length that is checked at each use (`bpf_dynptr_*` in `kernel/bpf/helpers.c`).
//!
//! Natively a verifier keeps programs from touching a dynptr; here it is 16 bytes of the program's own. So nothing is believed of
//! it: the bytes that one points to are guest memory at each use or the run ends, and a record of a ring is one as
//! [`super::event`] finds it. Who forges one reaches what any pointer of its own reaches.

use abi::traps::Trap;

use super::event;
use super::{Run, r0};
use crate::guest::GuestSlice;
use crate::host::{Errno, Host, Result0};
use crate::maps::Commit;
use crate::work::price;

/// Bytes of `struct bpf_dynptr`.
const DYNPTR: u64 = 16;
/// `DYNPTR_MAX_SIZE`, and what of the third word is the size.
const MAX_SIZE: u32 = (1 << 24) - 1;
/// `BPF_DYNPTR_TYPE_LOCAL` and `BPF_DYNPTR_TYPE_RINGBUF`, where they lie.
const LOCAL: u32 = 1 << 28;
const RINGBUF: u32 = 2 << 28;
/// `DYNPTR_RDONLY_BIT`.
const READ_ONLY: u32 = 1 << 31;

/// `struct bpf_dynptr_kern`, as read once.
#[derive(Clone, Copy, Default)]
struct Dynptr {
    /// A guest pointer; 0: it points nowhere.
    data: u64,
    /// Bytes, and what kind it is.
    size: u32,
    offset: u32,
}

impl Dynptr {
    const NULL: Dynptr = Dynptr {
        data: 0,
        size: 0,
        offset: 0,
    };

    fn new(data: u64, size: u32, kind: u32) -> Self {
        Self {
            data,
            size: size | kind,
            offset: 0,
        }
    }

    fn read(place: GuestSlice<'_>) -> Self {
        let rest = place.word_at(8);
        Self {
            data: place.word_at(0),
            size: rest as u32,
            offset: (rest >> 32) as u32,
        }
    }

    fn write(self, place: GuestSlice<'_>) {
        let rest = u64::from(self.offset) << 32 | u64::from(self.size);
        place.write(&self.data.to_le_bytes());
        place.from(8).write(&rest.to_le_bytes());
    }

    fn is_null(self) -> bool {
        self.data == 0
    }

    fn is_read_only(self) -> bool {
        !self.is_null() && self.size & READ_ONLY != 0
    }

    fn bytes(self) -> u32 {
        self.size & MAX_SIZE
    }

    /// Where `length` bytes from `offset` on lie.
    fn part(self, offset: u32, length: u32) -> Result<u64, Errno> {
        let size = self.bytes();
        match length > size || offset > size - length {
            true => Err(Errno::E2BIG),
            false => Ok(self
                .data
                .wrapping_add(self.offset.into())
                .wrapping_add(offset.into())),
        }
    }
}

fn place<'a, H>(run: &Run<'a, H>, pointer: u64) -> Result<GuestSlice<'a>, Trap> {
    run.work.units(price::DYNPTR)?;
    run.slice(pointer, DYNPTR)
}

fn at<H>(run: &Run<'_, H>, pointer: u64) -> Result<Dynptr, Trap> {
    place(run, pointer).map(Dynptr::read)
}

/// Bytes that are copied at a time, where both ranges overlap.
const CHUNK: usize = 64;

/// Copies as many bytes as both have, wherever they lie.
fn copy(to: GuestSlice<'_>, from: GuestSlice<'_>) {
    if to.as_ptr() <= from.as_ptr() {
        return to.copy_from(from);
    }
    let mut end = to.len().min(from.len());
    let mut chunk = [0; CHUNK];
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let bytes = &mut chunk[..end - start];
        from.from(start).read(bytes);
        to.from(start).write(bytes);
        end = start;
    }
}

/// Leaves `made` at `place`, or a null dynptr.
fn set(place: GuestSlice<'_>, made: Result<Dynptr, Errno>) -> u64 {
    made.unwrap_or(Dynptr::NULL).write(place);
    r0(made.map(drop))
}

fn checked_size(size: u64) -> Result<u32, Errno> {
    let size = size as u32;
    (size <= MAX_SIZE).then_some(size).ok_or(Errno::E2BIG)
}

pub(super) fn from_mem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [data, size, flags, to, _] = args;
    let place = place(run, to)?;
    let made = checked_size(size).and_then(|size| match flags {
        0 => Ok(Dynptr::new(data, size, LOCAL)),
        _ => Err(Errno::EINVAL),
    });
    // A bad pointer is a broken program, whether it is used or not.
    if let Ok(made) = made {
        run.space.memory().slice(data, made.bytes().into())?;
    }
    Ok(set(place, made))
}

pub(super) fn ringbuf_reserve<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [ring, size, flags, to, _] = args;
    let place = place(run, to)?;
    let size = match flags {
        0 => checked_size(size),
        _ => Err(Errno::EINVAL),
    };
    let made = match size {
        Ok(size) => match event::ringbuf_reserve(run, [ring, size.into(), 0, 0, 0])? {
            0 => Err(Errno::EINVAL),
            record => Ok(Dynptr::new(record, size, RINGBUF)),
        },
        Err(errno) => Err(errno),
    };
    Ok(set(place, made))
}

fn commit<H: Host>(run: &Run<'_, H>, args: [u64; 5], how: Commit) -> Result0 {
    let place = place(run, args[0])?;
    let record = Dynptr::read(place);
    if record.is_null() {
        return Ok(0);
    }
    event::commit(run, record.data, args[1], how)?;
    Dynptr::NULL.write(place);
    Ok(0)
}

pub(super) fn ringbuf_submit<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    commit(run, args, Commit::Submit)
}

pub(super) fn ringbuf_discard<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    commit(run, args, Commit::Discard)
}

pub(super) fn read<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [to, length, from, offset, flags] = args;
    let length = length as u32;
    run.work.units(price::DYNPTR)?;
    let to = run.slice(to, length.into())?;
    let from = at(run, from)?;
    if from.is_null() || flags != 0 {
        return Ok(Errno::EINVAL.as_r0());
    }
    match from.part(offset as u32, length) {
        Ok(part) => copy(to, run.slice(part, length.into())?),
        Err(errno) => return Ok(errno.as_r0()),
    }
    Ok(0)
}

pub(super) fn write<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [to, offset, from, length, flags] = args;
    let length = length as u32;
    run.work.units(price::DYNPTR)?;
    let from = run.slice(from, length.into())?;
    let to = at(run, to)?;
    if to.is_null() || to.is_read_only() {
        return Ok(Errno::EINVAL.as_r0());
    }
    match to.part(offset as u32, length) {
        Ok(_) if flags != 0 => return Ok(Errno::EINVAL.as_r0()),
        Ok(part) => copy(run.slice(part, length.into())?, from),
        Err(errno) => return Ok(errno.as_r0()),
    }
    Ok(0)
}

/// A pointer to a part of what it points to, or null.
fn part<H>(run: &Run<'_, H>, pointer: u64, offset: u64, length: u64, writable: bool) -> Result0 {
    let dynptr = at(run, pointer)?;
    if dynptr.is_null() || writable && dynptr.is_read_only() {
        return Ok(0);
    }
    Ok(dynptr.part(offset as u32, length as u32).unwrap_or(0))
}

pub(super) fn data<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    part(run, args[0], args[1], args[2], true)
}

/// What there is here is never in pieces, so the buffer is never needed.
pub(super) fn slice<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    part(run, args[0], args[1], args[3], false)
}

pub(super) fn adjust<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let place = place(run, args[0])?;
    let (start, end) = (args[1] as u32, args[2] as u32);
    let dynptr = Dynptr::read(place);
    if dynptr.is_null() || start > end {
        return Ok(Errno::EINVAL.as_r0());
    }
    if end > dynptr.bytes() {
        return Ok(Errno::ERANGE.as_r0());
    }
    let adjusted = Dynptr {
        offset: dynptr.offset.wrapping_add(start),
        size: dynptr.size & !MAX_SIZE | (end - start),
        ..dynptr
    };
    adjusted.write(place);
    Ok(0)
}

pub(super) fn is_null<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    Ok(at(run, args[0])?.is_null().into())
}

pub(super) fn is_read_only<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    Ok(at(run, args[0])?.is_read_only().into())
}

/// A `u32`, also where it is an error.
pub(super) fn size<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let dynptr = at(run, args[0])?;
    Ok(match dynptr.is_null() {
        true => u64::from(Errno::EINVAL.as_r0() as u32),
        false => dynptr.bytes().into(),
    })
}

pub(super) fn clone<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let dynptr = at(run, args[0])?;
    let made = match dynptr.is_null() {
        true => Err(Errno::EINVAL),
        false => Ok(dynptr),
    };
    Ok(set(place(run, args[1])?, made))
}

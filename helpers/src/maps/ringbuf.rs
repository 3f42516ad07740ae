//! `BPF_MAP_TYPE_RINGBUF`, as `kernel/bpf/ringbuf.c`, in the layout that libbpf's `ring_buffer` reads.
//!
//! ```text
//! consumer page │ producer page │ data, a power of two of bytes
//! ```
//!
//! All of it lies in guest memory, page-aligned, so that a runtime can map it into user space; there the
//! data is mapped twice in a row. The guest can scribble over it: its own reader is then confused. The
//! producer's position is kept on the host side as well and only published in the page; the consumer's
//! is user space's word and used as such.
//!
//! A record is contiguous in guest memory, which is not mapped twice. One that would not fit before the
//! end is preceded by a discarded record up to the end. That is the only difference readers can see.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::MapSpec;
use crate::guest::{GuestMemory, GuestSlice};
use crate::host::{Errno, Host};
use crate::lock::SpinLock;

/// The kernel's page size on every supported machine: a ring's bytes are a power of two of these.
pub const PAGE: u32 = 4096;
/// Bytes of a record's header: length and flags, then a page offset that only the kernel's own code reads.
const HEADER: u32 = 8;
/// `BPF_RINGBUF_BUSY_BIT`: reserved, not submitted.
const BUSY: u32 = 1 << 31;
/// `BPF_RINGBUF_DISCARD_BIT`: readers skip it.
const DISCARD: u32 = 1 << 30;
/// `BPF_F_NUMA_NODE`.
const FLAGS: u32 = 1 << 2;

/// `BPF_RB_NO_WAKEUP`.
const NO_WAKEUP: u64 = 1;
/// `BPF_RB_FORCE_WAKEUP`.
const FORCE_WAKEUP: u64 = 2;

pub(super) fn area_bytes(spec: &MapSpec) -> Result<u64, Errno> {
    let size = spec.max_entries;
    let shape = spec.key_size == 0 && spec.value_size == 0 && spec.flags & !FLAGS == 0;
    if !shape || !size.is_power_of_two() || !size.is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    // The two pages, and what aligning to a page may skip.
    Ok(u64::from(size) + u64::from(PAGE) * 3)
}

/// Ends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Readers see it.
    Submit,
    /// Readers skip it.
    Discard,
}

/// A ring of records.
#[derive(Debug)]
pub struct Ringbuf {
    /// Offset of the consumer page.
    start: u32,
    /// Bytes of data.
    size: u32,
    /// Position behind the last record reserved.
    producer: SpinLock<u64>,
    /// What the runtime wants to be woken by; 0: nothing.
    waker: AtomicUsize,
}

impl Ringbuf {
    /// `spec` has passed [`area_bytes`], and that many bytes lie at `area`.
    pub(super) fn new(spec: &MapSpec, area: u32) -> Self {
        Self {
            start: area.next_multiple_of(PAGE),
            size: spec.max_entries,
            producer: SpinLock::new(0),
            waker: AtomicUsize::new(0),
        }
    }

    /// Offset of the consumer page; the producer page and the data follow.
    pub fn pages(&self) -> u32 {
        self.start
    }

    /// Bytes of data.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Sets what [`Host::wake`] is told when a record is there.
    pub fn set_waker(&self, waker: usize) {
        self.waker.store(waker, Ordering::Release);
    }

    /// Whether a reader has something to read.
    pub fn is_readable(&self, memory: &GuestMemory) -> bool {
        self.consumer(memory)
            .is_ok_and(|consumer| consumer != *self.producer.lock())
    }

    fn position<'m>(&self, memory: &'m GuestMemory, page: u32) -> Result<&'m AtomicU64, Errno> {
        let cell = memory.at(self.start + page * PAGE, 8);
        cell.and_then(GuestSlice::as_atomic64).ok_or(Errno::EFAULT)
    }

    fn consumer(&self, memory: &GuestMemory) -> Result<u64, Errno> {
        Ok(self.position(memory, 0)?.load(Ordering::Acquire))
    }

    fn data(&self) -> u32 {
        self.start + 2 * PAGE
    }

    /// The offset within the data of position `at`.
    fn within(&self, at: u64) -> u32 {
        (at & u64::from(self.size - 1)) as u32
    }

    /// Sets a record's header.
    fn mark(&self, memory: &GuestMemory, at: u64, length: u32) -> Result<(), Errno> {
        let header = memory.at(self.data() + self.within(at), 4);
        let header = header
            .and_then(GuestSlice::as_atomic32)
            .ok_or(Errno::EFAULT)?;
        header.store(length, Ordering::Release);
        Ok(())
    }

    /// A record of `size` bytes; the offset of its first. `None` if there is no room.
    pub fn reserve(&self, memory: &GuestMemory, size: u64) -> Option<u32> {
        let length = u32::try_from(size)
            .ok()
            .filter(|length| *length < DISCARD)?;
        let whole = length.checked_add(HEADER)?.checked_next_multiple_of(8)?;
        let mut producer = self.producer.lock();
        let consumer = self.consumer(memory).ok()?;
        let rest = self.size - self.within(*producer);
        let skipped = if whole > rest { rest } else { 0 };
        let at = *producer + u64::from(skipped);
        let end = at + u64::from(whole);
        if whole > self.size || end.wrapping_sub(consumer) > u64::from(self.size - 1) {
            return None;
        }
        if skipped > 0 {
            self.mark(memory, *producer, (skipped - HEADER) | DISCARD)
                .ok()?;
        }
        self.mark(memory, at, length | BUSY).ok()?;
        *producer = end;
        self.position(memory, 1).ok()?.store(end, Ordering::Release);
        Some(self.data() + self.within(at) + HEADER)
    }

    /// Whether a record could begin at `offset`.
    pub fn owns(&self, offset: u32) -> bool {
        let first = self.data() + HEADER;
        (first..self.data() + self.size).contains(&offset) && offset.is_multiple_of(8)
    }

    /// Hands the record at `offset`, which this ring [`owns`](Self::owns), to the reader.
    pub fn commit<H: Host>(
        &self,
        host: &H,
        memory: &GuestMemory,
        offset: u32,
        how: Commit,
        flags: u64,
    ) -> Result<(), Errno> {
        let header = memory
            .at(offset - HEADER, 4)
            .and_then(GuestSlice::as_atomic32);
        let header = header.ok_or(Errno::EFAULT)?;
        let discard = if how == Commit::Discard { DISCARD } else { 0 };
        let length = header.load(Ordering::Relaxed) & !BUSY;
        header.swap(length | discard, Ordering::SeqCst);
        // If the reader waits for just this record, it sleeps. At the start it may also sleep on a
        // discarded end before it.
        let at = offset - HEADER - self.data();
        let waited_for = at == 0 || self.within(self.consumer(memory)?) == at;
        if flags & FORCE_WAKEUP != 0 || waited_for && flags & NO_WAKEUP == 0 {
            let waker = self.waker.load(Ordering::Acquire);
            if waker != 0 {
                host.wake(waker);
            }
        }
        Ok(())
    }

    /// Reserves, copies and submits.
    pub fn output<H: Host>(
        &self,
        host: &H,
        memory: &GuestMemory,
        data: GuestSlice<'_>,
        flags: u64,
    ) -> Result<(), Errno> {
        if flags & !(NO_WAKEUP | FORCE_WAKEUP) != 0 {
            return Err(Errno::EINVAL);
        }
        let size = data.len() as u64;
        let offset = self.reserve(memory, size).ok_or(Errno::EAGAIN)?;
        memory
            .at(offset, size)
            .ok_or(Errno::EFAULT)?
            .copy_from(data);
        self.commit(host, memory, offset, Commit::Submit, flags)
    }

    /// `bpf_ringbuf_query`: an unknown question is answered with 0.
    pub fn query(&self, memory: &GuestMemory, question: u64) -> u64 {
        let producer = *self.producer.lock();
        let consumer = self.consumer(memory).unwrap_or(producer);
        match question {
            0 => producer.wrapping_sub(consumer),
            1 => u64::from(self.size),
            2 => consumer,
            3 => producer,
            _ => 0,
        }
    }
}

//! `BPF_MAP_TYPE_PERF_EVENT_ARRAY` as an output: a ring for each CPU, in the layout that libbpf's
//! `perf_buffer` reads (`struct perf_event_mmap_page`, then data; `kernel/events/ring_buffer.c`).
//!
//! The rings lie in memory of the host that user space maps, out of the guest's reach. A reader brings
//! them one by one, as in the kernel, where it brings perf events; a CPU without one gives `ENOENT`.

use alloc::vec::Vec;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use super::{MapSpec, host_vec};
use crate::guest::{GuestMemory, GuestSlice};
use crate::host::{Errno, Host};

/// `BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_PRESERVE_ELEMS`.
const FLAGS: u32 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 11;

/// `BPF_F_CURRENT_CPU`, which is also the mask of an index.
const CURRENT_CPU: u64 = 0xffff_ffff;

/// Offsets in `struct perf_event_mmap_page`.
mod page {
    pub(super) const DATA_HEAD: u32 = 1024;
    pub(super) const DATA_TAIL: u32 = 1032;
    pub(super) const DATA_OFFSET: u32 = 1040;
    pub(super) const DATA_SIZE: u32 = 1048;
    pub(super) const SIZE: u32 = 4096;
}

/// `PERF_RECORD_LOST`.
const RECORD_LOST: u32 = 2;
/// `PERF_RECORD_SAMPLE`.
const RECORD_SAMPLE: u32 = 9;
/// `PERF_RECORD_MISC_KERNEL`.
const MISC_KERNEL: u16 = 1;
/// Bytes of `struct perf_event_header`.
const HEADER: u32 = 8;
/// Bytes of a lost record: header, id, count.
const LOST: u32 = HEADER + 16;

pub(super) fn area_bytes(spec: &MapSpec) -> Result<u64, Errno> {
    if spec.key_size != 4
        || spec.value_size != 4
        || spec.max_entries == 0
        || spec.flags & !FLAGS != 0
    {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

/// A ring for one CPU.
///
/// # Invariants
///
/// Only its CPU writes it, in a run or with runs kept out. `head` is the truth; the page only shows it.
#[derive(Debug)]
pub struct PerfRing {
    memory: GuestMemory,
    cpu: u32,
    size: u32,
    head: AtomicU64,
    lost: AtomicU64,
    waker: usize,
}

impl PerfRing {
    /// A ring for `cpu` in `memory`: a page for the positions, then data of a power of two of bytes.
    /// [`Host::wake`] is told `waker` when a reader that has read all gets something to read.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the data is no power of two of pages.
    pub fn new(memory: GuestMemory, cpu: u32, waker: usize) -> Result<Self, Errno> {
        let size = memory.size().checked_sub(page::SIZE).ok_or(Errno::EINVAL)?;
        if !size.is_power_of_two() || size < page::SIZE {
            return Err(Errno::EINVAL);
        }
        let ring = Self {
            memory,
            cpu,
            size,
            head: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            waker,
        };
        ring.cell(page::DATA_OFFSET)?
            .store(u64::from(page::SIZE), Ordering::Relaxed);
        ring.cell(page::DATA_SIZE)?
            .store(u64::from(size), Ordering::Relaxed);
        Ok(ring)
    }

    fn cell(&self, at: u32) -> Result<&AtomicU64, Errno> {
        let cell = self.memory.at(at, 8).and_then(GuestSlice::as_atomic64);
        cell.ok_or(Errno::EFAULT)
    }

    /// Records that did not fit and are not yet reported to the reader.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether a reader has something to read.
    pub fn is_readable(&self) -> bool {
        let head = self.head.load(Ordering::Acquire);
        self.cell(page::DATA_TAIL)
            .is_ok_and(|tail| tail.load(Ordering::Acquire) != head)
    }

    /// Adds a sample.
    fn output<H: Host>(&self, host: &H, data: GuestSlice<'_>) -> Result<(), Errno> {
        // The kernel pads the raw data, its length word included, to 8 bytes, and tells readers so.
        let raw = (data.len() as u64 + 4).next_multiple_of(8);
        let sample = u16::try_from(u64::from(HEADER) + raw).map_err(|_| Errno::E2BIG)?;
        let tail = self.cell(page::DATA_TAIL)?.load(Ordering::Acquire);
        let head = self.head.load(Ordering::Relaxed);
        let lost = self.lost.load(Ordering::Relaxed);
        let needed = u64::from(sample) + if lost > 0 { u64::from(LOST) } else { 0 };
        // CIRC_SPACE: a ring is never quite full.
        let room = tail.wrapping_sub(head).wrapping_sub(1) & u64::from(self.size - 1);
        if room < needed {
            self.lost.store(lost + 1, Ordering::Relaxed);
            return Err(Errno::ENOSPC);
        }
        let mut at = head;
        if lost > 0 {
            at = self.put(at, &header(RECORD_LOST, 0, LOST as u16))?;
            at = self.put(at, &0u64.to_ne_bytes())?;
            at = self.put(at, &lost.to_ne_bytes())?;
            self.lost.store(0, Ordering::Relaxed);
        }
        let mut begin = [0; HEADER as usize + 4];
        begin[..HEADER as usize].copy_from_slice(&header(RECORD_SAMPLE, MISC_KERNEL, sample));
        begin[HEADER as usize..].copy_from_slice(&(raw as u32 - 4).to_ne_bytes());
        at = self.put(at, &begin)?;
        let end = self.copy(at, data)?;
        self.publish(host, head, end.next_multiple_of(8))
    }

    /// Shows the reader a new head, and wakes it if it had read all.
    fn publish<H: Host>(&self, host: &H, old: u64, new: u64) -> Result<(), Errno> {
        self.head.store(new, Ordering::Release);
        self.cell(page::DATA_HEAD)?.store(new, Ordering::SeqCst);
        // Read again: the reader may have caught up since, and would sleep on what it has seen.
        if self.cell(page::DATA_TAIL)?.load(Ordering::SeqCst) == old && self.waker != 0 {
            host.wake(self.waker);
        }
        Ok(())
    }

    /// The part of the data from position `at` on, at most `len` bytes and not around the end.
    fn span(&self, at: u64, len: usize) -> Result<GuestSlice<'_>, Errno> {
        let offset = (at & u64::from(self.size - 1)) as u32;
        let len = len.min((self.size - offset) as usize);
        let span = self.memory.at(page::SIZE + offset, len as u64);
        span.ok_or(Errno::EFAULT)
    }

    /// Writes bytes at position `at`; the position behind them.
    fn put(&self, at: u64, bytes: &[u8]) -> Result<u64, Errno> {
        let span = self.span(at, bytes.len())?;
        span.write(bytes);
        let rest = &bytes[span.len()..];
        self.span(at + span.len() as u64, rest.len())?.write(rest);
        Ok(at + bytes.len() as u64)
    }

    /// As [`Self::put`], from guest memory.
    fn copy(&self, at: u64, data: GuestSlice<'_>) -> Result<u64, Errno> {
        let span = self.span(at, data.len())?;
        span.copy_from(data);
        let rest = data.from(span.len());
        self.span(at + span.len() as u64, rest.len())?
            .copy_from(rest);
        Ok(at + data.len() as u64)
    }
}

fn header(kind: u32, misc: u16, size: u16) -> [u8; HEADER as usize] {
    let mut bytes = [0; HEADER as usize];
    bytes[..4].copy_from_slice(&kind.to_ne_bytes());
    bytes[4..6].copy_from_slice(&misc.to_ne_bytes());
    bytes[6..].copy_from_slice(&size.to_ne_bytes());
    bytes
}

/// The rings, by index.
#[derive(Debug)]
pub struct PerfEventArray {
    rings: Vec<AtomicPtr<PerfRing>>,
}

impl PerfEventArray {
    /// `spec` has passed [`area_bytes`].
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let count = spec.max_entries as usize;
        let mut rings = host_vec(count)?;
        rings.extend((0..count).map(|_| AtomicPtr::new(ptr::null_mut())));
        Ok(Self { rings })
    }

    /// Puts a ring at `index`, where there is none.
    ///
    /// # Safety
    ///
    /// The ring outlives its stay, and after it is [taken away](Self::remove) it is freed only when no run that may have
    /// seen it is left.
    ///
    /// # Errors
    ///
    /// `E2BIG` if there is no such index, `EBUSY` if there is a ring.
    pub unsafe fn put(&self, index: u32, ring: NonNull<PerfRing>) -> Result<(), Errno> {
        let slot = self.rings.get(index as usize).ok_or(Errno::E2BIG)?;
        let empty = ptr::null_mut();
        slot.compare_exchange(empty, ring.as_ptr(), Ordering::AcqRel, Ordering::Relaxed)
            .map(drop)
            .map_err(|_| Errno::EBUSY)
    }

    /// Takes `ring` away from `index`, if it is there.
    pub fn remove(&self, index: u32, ring: NonNull<PerfRing>) {
        if let Some(slot) = self.rings.get(index as usize) {
            let empty = ptr::null_mut();
            // Another one's ring stays.
            let _ =
                slot.compare_exchange(ring.as_ptr(), empty, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// `bpf_perf_event_output`.
    pub fn output<H: Host>(&self, host: &H, flags: u64, data: GuestSlice<'_>) -> Result<(), Errno> {
        if flags & !CURRENT_CPU != 0 {
            return Err(Errno::EINVAL);
        }
        let cpu = host.cpu();
        let index = if flags == CURRENT_CPU {
            cpu
        } else {
            flags as u32
        };
        let slot = self.rings.get(index as usize).ok_or(Errno::E2BIG)?;
        // SAFETY: whoever set it keeps it until no run can see it any more; see `put`.
        let ring = unsafe { slot.load(Ordering::Acquire).as_ref() }.ok_or(Errno::ENOENT)?;
        if ring.cpu != cpu {
            return Err(Errno::EOPNOTSUPP);
        }
        ring.output(host, data)
    }
}

//! `BPF_MAP_TYPE_STACK_TRACE`, as `kernel/bpf/stackmap.c`: stacks by their hash, each in the one bucket its hash
//! leads to.
//!
//! A stack is a slot: its addresses lie in guest memory, their number and hash on the host side. Each CPU has
//! one slot more, into which it walks; storing trades that for a free one. So a walk needs no other buffer.

use alloc::vec::Vec;
use core::sync::atomic::Ordering::{self, Relaxed};
use core::sync::atomic::{AtomicU32, AtomicU64};

use super::elements::Elements;
use super::freelist::{self, FreeList};
use super::{MapSpec, host_vec};
use crate::guest::{GuestMemory, GuestSlice};
use crate::host::Errno;
use crate::lock::{Line, SpinLock};

/// Addresses of a stack at most (`PERF_MAX_STACK_DEPTH`, of which `sysctl_perf_event_max_stack` is the default).
pub const MAX_DEPTH: u32 = 127;

/// `BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY`.
const FLAGS: u32 = 1 << 2 | 1 << 3 | 1 << 4;
/// `BPF_F_STACK_BUILD_ID`.
const BUILD_ID: u32 = 1 << 5;

/// `BPF_F_SKIP_FIELD_MASK`: frames to leave out.
pub const SKIP: u64 = 0xff;
/// `BPF_F_USER_STACK`.
pub const USER_STACK: u64 = 1 << 8;
/// `BPF_F_FAST_STACK_CMP`: an equal hash is an equal stack.
pub const FAST_STACK_CMP: u64 = 1 << 9;
/// `BPF_F_REUSE_STACKID`: another stack in the bucket goes.
pub const REUSE_STACKID: u64 = 1 << 10;
/// `BPF_F_USER_BUILD_ID`.
pub const USER_BUILD_ID: u64 = 1 << 11;

/// No slot.
const EMPTY: u32 = u32::MAX;

pub(super) fn area_bytes(spec: &MapSpec, cpus: u32) -> Result<u64, Errno> {
    if spec.flags & !(FLAGS | BUILD_ID) != 0 {
        return Err(Errno::EINVAL);
    }
    let unit = if spec.flags & BUILD_ID == 0 { 8 } else { 32 };
    if spec.key_size != 4
        || spec.value_size < 8
        || !spec.value_size.is_multiple_of(unit)
        || spec.value_size / unit > MAX_DEPTH
        || spec.max_entries == 0
    {
        return Err(Errno::EINVAL);
    }
    if unit != 8 {
        return Err(Errno::EOPNOTSUPP);
    }
    let slots = slots(spec, cpus)?;
    Ok(Elements::bytes(spec.value_size, 1, slots))
}

fn slots(spec: &MapSpec, cpus: u32) -> Result<u32, Errno> {
    let slots = spec.max_entries.checked_add(cpus);
    slots.filter(|n| *n < EMPTY).ok_or(Errno::E2BIG)
}

/// A map of stacks.
#[derive(Debug)]
pub struct StackTrace {
    elements: Elements,
    depth: u32,
    /// Each the slot of its stack, or [`EMPTY`].
    buckets: Vec<AtomicU32>,
    slots: Vec<Slot>,
    free: FreeList,
    /// Each CPU's slot to walk into.
    spares: Vec<Line<SpinLock<u32>>>,
}

#[derive(Debug)]
struct Slot {
    hash: AtomicU32,
    /// How many addresses.
    depth: AtomicU32,
}

/// Bytes of host memory that it takes besides itself. `spec` has passed [`area_bytes`].
pub(super) fn host_bytes(spec: &MapSpec, cpus: u32) -> Result<u64, Errno> {
    let buckets = u64::from(spec.max_entries).next_power_of_two() * size_of::<AtomicU32>() as u64;
    let count = slots(spec, cpus)?;
    let slots = u64::from(count) * size_of::<Slot>() as u64;
    let spares = u64::from(cpus) * size_of::<Line<SpinLock<u32>>>() as u64;
    Ok(buckets + slots + spares + freelist::host_bytes(count, cpus))
}

impl StackTrace {
    /// `spec` has passed [`area_bytes`], and that many bytes lie at `area`.
    pub(super) fn new(spec: &MapSpec, area: u32, cpus: u32) -> Result<Self, Errno> {
        let count = slots(spec, cpus)?;
        let bucket_count = spec.max_entries.checked_next_power_of_two();
        let bucket_count = bucket_count.ok_or(Errno::E2BIG)?;
        let mut buckets = host_vec(bucket_count as usize)?;
        buckets.extend((0..bucket_count).map(|_| AtomicU32::new(EMPTY)));
        let mut slots = host_vec(count as usize)?;
        slots.extend((0..count).map(|_| Slot {
            hash: AtomicU32::new(0),
            depth: AtomicU32::new(0),
        }));
        let mut spares = host_vec(cpus as usize)?;
        spares.extend((spec.max_entries..count).map(|slot| Line(SpinLock::new(slot))));
        Ok(Self {
            elements: Elements::new(area, spec.value_size, 1, count),
            depth: spec.value_size / 8,
            buckets,
            slots,
            free: FreeList::new(spec.max_entries, count, cpus)?,
            spares,
        })
    }

    /// Frames of a stack at most.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The id of the stack that `walk` leaves in the slice it is given: `walk` says how many addresses.
    ///
    /// # Errors
    ///
    /// What `walk` gives; `EFAULT` for an empty stack, `EEXIST` where another stack has the bucket, `ENOMEM` for a full map.
    pub fn id(
        &self,
        memory: &GuestMemory,
        cpu: u32,
        flags: u64,
        walk: impl FnOnce(GuestSlice<'_>) -> Result<usize, Errno>,
    ) -> Result<u32, Errno> {
        let mut spare = self.spares[cpu as usize % self.spares.len()].0.lock();
        let buffer = self.elements.one(memory, *spare, 0)?;
        let depth = walk(buffer)?.min(self.depth as usize);
        if depth == 0 {
            return Err(Errno::EFAULT);
        }
        let stack = buffer.first(depth * 8);
        let hash = jhash(stack);
        let id = hash & (self.buckets.len() as u32 - 1);
        let bucket = &self.buckets[id as usize];
        if let Some(old) = self.slots.get(bucket.load(Ordering::Acquire) as usize) {
            let same_hash = old.hash.load(Ordering::Relaxed) == hash;
            if same_hash && (flags & FAST_STACK_CMP != 0 || self.holds(memory, bucket, stack)?) {
                return Ok(id);
            }
            if flags & REUSE_STACKID == 0 {
                return Err(Errno::EEXIST);
            }
        }
        let free = self.free.take(cpu).ok_or(Errno::ENOMEM)?;
        let slot = core::mem::replace(&mut *spare, free);
        self.slots[slot as usize]
            .hash
            .store(hash, Ordering::Relaxed);
        self.slots[slot as usize]
            .depth
            .store(depth as u32, Ordering::Relaxed);
        self.put(cpu, bucket, slot);
        Ok(id)
    }

    /// Whether the stack in `bucket` is `stack`.
    fn holds(
        &self,
        memory: &GuestMemory,
        bucket: &AtomicU32,
        stack: GuestSlice<'_>,
    ) -> Result<bool, Errno> {
        let number = bucket.load(Ordering::Acquire);
        let Some(slot) = self.slots.get(number as usize) else {
            return Ok(false);
        };
        let depth = slot.depth.load(Ordering::Relaxed) as usize;
        let held = self.elements.one(memory, number, 0)?.first(depth * 8);
        let (held, stack) = (held.as_words(), stack.as_words());
        let (held, stack) = (held.unwrap_or_default(), stack.unwrap_or_default());
        let same = |(a, b): (&AtomicU64, &AtomicU64)| a.load(Relaxed) == b.load(Relaxed);
        Ok(held.len() == stack.len() && held.iter().zip(stack).all(same))
    }

    /// Puts `slot` into `bucket`; what was there becomes free.
    fn put(&self, cpu: u32, bucket: &AtomicU32, slot: u32) {
        let old = bucket.swap(slot, Ordering::AcqRel);
        if old != EMPTY {
            self.free.give(cpu, old);
        }
    }

    fn bucket(&self, id: u32) -> Option<&AtomicU32> {
        self.buckets.get(id as usize)
    }

    /// The stack, with zeros behind it. It is taken out meanwhile, so that nobody replaces it.
    pub(super) fn read(
        &self,
        memory: &GuestMemory,
        id: u32,
        value: &mut [u8],
    ) -> Result<(), Errno> {
        let bucket = self.bucket(id).ok_or(Errno::ENOENT)?;
        let number = bucket.swap(EMPTY, Ordering::AcqRel);
        let slot = self.slots.get(number as usize).ok_or(Errno::ENOENT)?;
        let bytes = slot.depth.load(Ordering::Relaxed) as usize * 8;
        value.fill(0);
        let read = self.elements.one(memory, number, 0);
        if let Ok(stack) = read {
            stack.first(bytes).read(value);
        }
        // If a probe filled the bucket meanwhile, its stack goes, to whichever list.
        self.put(0, bucket, number);
        read.map(drop)
    }

    pub(super) fn delete(&self, cpu: u32, id: u32) -> Result<(), Errno> {
        let bucket = self.bucket(id).ok_or(Errno::E2BIG)?;
        let old = bucket.swap(EMPTY, Ordering::AcqRel);
        if old == EMPTY {
            return Err(Errno::ENOENT);
        }
        self.free.give(cpu, old);
        Ok(())
    }

    pub(super) fn next_key(&self, id: Option<u32>, next: &mut [u8]) -> Result<(), Errno> {
        let full = |id: &u32| {
            let bucket = self.bucket(*id);
            bucket.is_some_and(|bucket| bucket.load(Ordering::Acquire) != EMPTY)
        };
        let first = id.filter(full).map_or(0, |id| id + 1);
        let found = (first..self.buckets.len() as u32).find(full);
        next.copy_from_slice(&found.ok_or(Errno::ENOENT)?.to_ne_bytes());
        Ok(())
    }
}

/// The kernel's `jhash2()` of the 32-bit words, from 0: what makes an id the kernel's. Values of maps are aligned.
fn jhash(stack: GuestSlice<'_>) -> u32 {
    const START: u32 = 0xdead_beef;
    let words = stack.as_words32().unwrap_or_default();
    let [mut a, mut b, mut c] = [START.wrapping_add((words.len() as u32) << 2); 3];
    let mut rest = words;
    let word = |words: &[AtomicU32], at: usize| words.get(at).map_or(0, |w| w.load(Relaxed));
    while let [first, second, third, after @ ..] = rest
        && !after.is_empty()
    {
        a = a.wrapping_add(first.load(Relaxed));
        b = b.wrapping_add(second.load(Relaxed));
        c = c.wrapping_add(third.load(Relaxed));
        (a, b, c) = mix(a, b, c);
        rest = after;
    }
    if rest.is_empty() {
        return c;
    }
    finish(
        a.wrapping_add(word(rest, 0)),
        b.wrapping_add(word(rest, 1)),
        c.wrapping_add(word(rest, 2)),
    )
}

/// `__jhash_mix`.
fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for (first, second) in [(4, 6), (8, 16), (19, 4)] {
        // Two of the six lines; then the names have moved on by two.
        a = a.wrapping_sub(c) ^ c.rotate_left(first);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(second);
        a = a.wrapping_add(c);
        (a, b, c) = (c, a, b);
    }
    (a, b, c)
}

/// `__jhash_final`.
fn finish(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    let step = |x: u32, y: u32, by: u32| (x ^ y).wrapping_sub(y.rotate_left(by));
    c = step(c, b, 14);
    a = step(a, c, 11);
    b = step(b, a, 25);
    c = step(c, b, 16);
    a = step(a, c, 4);
    b = step(b, a, 14);
    step(c, b, 24)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::tests::memory;
    use abi::map_types::MapType;

    /// From the kernel's `jhash2()` in C.
    #[test]
    fn hashes_are_the_kernels() {
        let memory = memory(64);
        let words: Vec<u8> = (1..=10u32).flat_map(u32::to_ne_bytes).collect();
        let slice = memory.at(0, 40).unwrap();
        slice.write(&words);
        let hashes = [2, 4, 6, 8, 10].map(|n| jhash(slice.first(n * 4)));
        let expected = [
            0x8b4c_7979,
            0x6649_1246,
            0xe3e3_6b25,
            0x84ce_8c3e,
            0x673e_141f,
        ];
        assert_eq!(hashes, expected);
    }

    fn stacks(max_entries: u32) -> (GuestMemory, StackTrace) {
        let spec = MapSpec {
            map_type: MapType::StackTrace,
            key_size: 4,
            value_size: 32,
            max_entries,
            flags: 0,
            inner: None,
        };
        let memory = memory(area_bytes(&spec, 2).unwrap() as u32);
        (memory, StackTrace::new(&spec, 0, 2).unwrap())
    }

    fn walk(frames: &[u64]) -> impl FnOnce(GuestSlice<'_>) -> Result<usize, Errno> {
        let bytes: Vec<u8> = frames.iter().flat_map(|f| f.to_ne_bytes()).collect();
        move |to| {
            to.write(&bytes);
            Ok(bytes.len() / 8)
        }
    }

    #[test]
    fn equal_stacks_have_one_id_and_others_of_its_bucket_are_refused_or_replace_it() {
        let (memory, stacks) = stacks(1);
        let id = |flags, frames: &[u64]| stacks.id(&memory, 0, flags, walk(frames));
        assert_eq!(id(0, &[]), Err(Errno::EFAULT));
        assert_eq!(id(0, &[1, 2]), Ok(0));
        assert_eq!(id(0, &[1, 2]), Ok(0));
        assert_eq!(id(0, &[1, 3]), Err(Errno::EEXIST));
        assert_eq!(id(REUSE_STACKID, &[1, 3]), Err(Errno::ENOMEM), "no slot");
        let mut value = [0xff; 32];
        stacks.read(&memory, 0, &mut value).unwrap();
        assert_eq!(
            value[..17],
            [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(stacks.delete(0, 0), Ok(()));
        assert_eq!(stacks.delete(0, 0), Err(Errno::ENOENT));
        assert_eq!(stacks.delete(0, 1), Err(Errno::E2BIG));
        assert_eq!(stacks.read(&memory, 0, &mut value), Err(Errno::ENOENT));
        assert_eq!(id(REUSE_STACKID, &[1, 3]), Ok(0));
    }

    #[test]
    fn a_replaced_stack_gives_its_slot_back() {
        let (memory, stacks) = stacks(3);
        let id = |flags, frames: &[u64]| stacks.id(&memory, 1, flags, walk(frames));
        for frame in 0..100 {
            id(REUSE_STACKID, &[frame]).unwrap();
            let mut next = [0; 4];
            while stacks.next_key(None, &mut next).is_ok() {
                stacks.delete(0, u32::from_ne_bytes(next)).unwrap();
            }
        }
    }

    /// A guest that changes what it has stored only changes what equals it.
    #[test]
    fn a_scribbled_stack_is_another_stack() {
        let (memory, stacks) = stacks(1);
        let id = |flags, frames: &[u64]| stacks.id(&memory, 0, flags, walk(frames));
        assert_eq!(id(0, &[1, 2]), Ok(0));
        memory.at(0, u64::from(memory.size())).unwrap().clear();
        assert_eq!(id(0, &[1, 2]), Err(Errno::EEXIST));
        assert_eq!(id(FAST_STACK_CMP, &[1, 2]), Ok(0));
    }
}

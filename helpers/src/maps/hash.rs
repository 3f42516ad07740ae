//! `BPF_MAP_TYPE_HASH` and its per-CPU and LRU kinds, preallocated, as `kernel/bpf/hashtab.c`.
//!
//! Elements are slots: a slot has its value in guest memory, its key, hash and chain link on the host
//! side. Writers lock a bucket; readers lock nothing.
//!
//! * A replaced value goes to a new slot, as in the kernel, so that a pointer from an earlier lookup keeps
//!   seeing the old value. Each CPU has one spare slot for that, which it trades for the old one;
//!   so a full map can still be updated. Per-CPU values are replaced in place, as in the kernel.
//! * A full LRU map evicts instead of refusing: a hand goes around the slots and takes the first that no
//!   program has looked up since it last passed (the kernel keeps lists, in batches for each CPU; which
//!   element goes is approximate there, too). It passes a bounded number of slots.
//! * A slot may be reused while a reader looks at it. The reader may then return a slot that no longer
//!   holds its key, as in the kernel (`__htab_map_lookup_elem`), but it never loses its way: a chain
//!   ends in its bucket's number, and a reader that ends in another bucket starts again.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use abi::map_types::MapType;
use abi::traps::Trap;

use super::elements::Elements;
use super::freelist::{self, FreeList};
use super::{EXIST, Key, MAX_KEY, MAX_PERCPU_VALUE, MapSpec, NOEXIST, Value, host_vec};
use crate::guest::{GuestMemory, GuestSlice};
use crate::host::Errno;
use crate::lock::{Line, SpinLock};
use crate::work::{Stop, Work, price};

/// `BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_ZERO_SEED |
/// BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG`: what `htab_map_alloc_check` allows.
const FLAGS: u32 = NO_PREALLOC | NUMA_NODE | 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8;
/// `BPF_F_NO_PREALLOC`, which an LRU map cannot do.
const NO_PREALLOC: u32 = 1;
/// `BPF_F_NO_COMMON_LRU`: a list for each CPU. Eviction is shared here all the same.
const NO_COMMON_LRU: u32 = 1 << 1;
/// `BPF_F_NUMA_NODE`, which per-CPU values and lists do not have.
const NUMA_NODE: u32 = 1 << 2;

/// Slots that the hand passes for the sake of their reference before it takes one regardless.
const MOST_SPARED: u32 = 64;

/// Buckets that are paid for together, before they are passed.
const PASSED: usize = 64;

/// The kernel's limit on key and value together (`KMALLOC_MAX_SIZE`), elements' headers aside.
const MAX_ELEMENT: u64 = 4 << 20;

/// Set in the link that ends a chain; the other bits are the bucket's number.
const END: u32 = 1 << 31;

pub(super) fn area_bytes(spec: &MapSpec, cpus: u32, copies: u32) -> Result<u64, Errno> {
    let lru_flags = if is_lru(spec) { NO_COMMON_LRU } else { 0 };
    if spec.flags & !(FLAGS | lru_flags) != 0 {
        return Err(Errno::EINVAL);
    }
    if is_lru(spec) && spec.flags & NO_PREALLOC != 0 {
        return Err(Errno::ENOTSUPP);
    }
    let by_cpu = spec.is_percpu() || spec.flags & NO_COMMON_LRU != 0;
    let empty = spec.key_size == 0 || spec.value_size == 0 || spec.max_entries == 0;
    if empty || by_cpu && spec.flags & NUMA_NODE != 0 {
        return Err(Errno::EINVAL);
    }
    let element = u64::from(spec.key_size) + u64::from(spec.value_size);
    if spec.key_size as usize > MAX_KEY
        || element >= MAX_ELEMENT
        || spec.is_percpu() && spec.value_size > MAX_PERCPU_VALUE
        || slots(spec, cpus)? >= END
    {
        return Err(Errno::E2BIG);
    }
    Ok(Elements::bytes(spec.value_size, copies, slots(spec, cpus)?))
}

/// Elements, and one spare for each CPU where replacing needs one.
fn slots(spec: &MapSpec, cpus: u32) -> Result<u32, Errno> {
    let spares = if spec.is_percpu() || is_lru(spec) {
        0
    } else {
        cpus
    };
    spec.max_entries.checked_add(spares).ok_or(Errno::E2BIG)
}

/// Bytes of host memory that it takes besides itself. `spec` has passed [`area_bytes`].
pub(super) fn host_bytes(spec: &MapSpec, cpus: u32) -> Result<u64, Errno> {
    let count = slots(spec, cpus)?;
    let buckets = u64::from(spec.max_entries).next_power_of_two() * size_of::<Bucket>() as u64;
    let key = u64::from(spec.key_size).next_multiple_of(8);
    let slots = u64::from(count) * (size_of::<Slot>() as u64 + key);
    let spares = u64::from(cpus) * size_of::<Line<SpinLock<u32>>>() as u64;
    Ok(buckets + slots + spares + freelist::host_bytes(count, cpus))
}

fn is_lru(spec: &MapSpec) -> bool {
    matches!(spec.map_type, MapType::LruHash | MapType::LruPercpuHash)
}

#[derive(Debug)]
pub(super) struct Hash {
    elements: Elements,
    key_size: usize,
    key_words: usize,
    seed: u32,
    buckets: Vec<Bucket>,
    slots: Vec<Slot>,
    /// `key_words` words for each slot.
    keys: Vec<AtomicU64>,
    free: FreeList,
    /// Each CPU's spare slot; none where values are replaced in place, or a slot is always to be had.
    spares: Vec<Line<SpinLock<u32>>>,
    in_place: bool,
    /// The slot that is to be evicted next, around and around; `None`: nothing is.
    hand: Option<AtomicU32>,
}

#[derive(Debug)]
struct Bucket {
    head: AtomicU32,
    lock: SpinLock<()>,
}

#[derive(Debug)]
struct Slot {
    hash: AtomicU32,
    next: AtomicU32,
    /// Looked up since the hand passed.
    referenced: AtomicBool,
}

/// How a full map makes room.
pub(super) struct Evicting<'w, F> {
    /// What pays.
    pub(super) work: &'w Work,
    /// For each slot that is looked at.
    pub(super) price: u64,
    /// Whether the element in a slot may go, after so many others were passed.
    pub(super) may_go: F,
}

/// Where a search ended.
struct Found {
    slot: u32,
    /// The slot whose link leads to it; `None`: the bucket's head does.
    before: Option<u32>,
}

impl Hash {
    /// `spec` has passed [`area_bytes`], and that many bytes lie at `area`.
    pub(super) fn new(spec: &MapSpec, area: u32, cpus: u32, copies: u32) -> Result<Self, Errno> {
        let count = slots(spec, cpus)?;
        let key_words = (spec.key_size as usize).div_ceil(8);
        let bucket_count = spec
            .max_entries
            .checked_next_power_of_two()
            .ok_or(Errno::E2BIG)?;
        let mut buckets = host_vec(bucket_count as usize)?;
        buckets.extend((0..bucket_count).map(|number| Bucket {
            head: AtomicU32::new(END | number),
            lock: SpinLock::new(()),
        }));
        let mut slots = host_vec(count as usize)?;
        slots.extend((0..count).map(|_| Slot {
            hash: AtomicU32::new(0),
            next: AtomicU32::new(END),
            referenced: AtomicBool::new(false),
        }));
        let words = (count as usize)
            .checked_mul(key_words)
            .ok_or(Errno::E2BIG)?;
        let mut keys = host_vec(words)?;
        keys.extend((0..words).map(|_| AtomicU64::new(0)));
        let mut spares = host_vec(cpus as usize)?;
        spares.extend((spec.max_entries..count).map(|slot| Line(SpinLock::new(slot))));
        Ok(Self {
            elements: Elements::new(area, spec.value_size, copies, count),
            key_size: spec.key_size as usize,
            key_words,
            // Where the map lies is as good a seed as a guest cannot choose.
            seed: slots.as_ptr() as usize as u32,
            buckets,
            slots,
            keys,
            free: FreeList::new(spec.max_entries, count, cpus)?,
            spares,
            in_place: spec.is_percpu(),
            hand: is_lru(spec).then(|| AtomicU32::new(0)),
        })
    }

    pub(super) fn elements(&self) -> &Elements {
        &self.elements
    }

    /// The slot of `key`, for a program, which thereby uses it.
    pub(super) fn touch(&self, key: &Key) -> Option<u32> {
        let slot = self.find(key)?;
        let referenced = &self.slots[slot as usize].referenced;
        if self.hand.is_some() && !referenced.load(Ordering::Relaxed) {
            referenced.store(true, Ordering::Relaxed);
        }
        Some(slot)
    }

    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        let hash = key.hash(self.seed);
        let number = self.bucket_number(hash);
        loop {
            let mut link = self.buckets[number as usize].head.load(Ordering::Acquire);
            while link & END == 0 {
                if self.holds(link, hash, key) {
                    return Some(link);
                }
                link = self.slots[link as usize].next.load(Ordering::Acquire);
            }
            if link == END | number {
                return None;
            }
        }
    }

    pub(super) fn update(
        &self,
        memory: &GuestMemory,
        cpu: u32,
        key: &Key,
        value: Value<'_>,
        flags: u64,
        work: &Work,
    ) -> Result<(), Stop> {
        if flags > EXIST {
            return Err(Errno::EINVAL.into());
        }
        // An element just come into being is cleared for all CPUs.
        if self.in_place {
            work.bytes(self.elements.all())?;
        }
        if self.hand.is_none() {
            self.free.pay(work)?;
            return Ok(self.replace(memory, cpu, key, value, flags, &mut None)?);
        }
        let unused = |slot: u32, passed| {
            let referenced = &self.slots[slot as usize].referenced;
            !referenced.swap(false, Ordering::Relaxed) || passed >= MOST_SPARED
        };
        let evicting = Evicting {
            work,
            price: price::SLOT,
            may_go: unused,
        };
        self.update_evicting(memory, cpu, key, value, flags, evicting)
    }

    /// As [`Self::update`] of an LRU map, where a full one evicts an element.
    pub(super) fn update_evicting(
        &self,
        memory: &GuestMemory,
        cpu: u32,
        key: &Key,
        value: Value<'_>,
        flags: u64,
        evicting: Evicting<'_, impl Fn(u32, u32) -> bool>,
    ) -> Result<(), Stop> {
        // Before the bucket is locked, for evicting locks another.
        let taken = self.take_or_evict(cpu, evicting)?;
        let mut fresh = Some(taken.ok_or(Errno::ENOMEM)?);
        let result = self.replace(memory, cpu, key, value, flags, &mut fresh);
        if let Some(slot) = fresh {
            self.free.give(cpu, slot);
        }
        Ok(result?)
    }

    /// Stores `value` in `fresh`, if that is a slot, else in one of its own; leaves in `fresh` what became free.
    fn replace(
        &self,
        memory: &GuestMemory,
        cpu: u32,
        key: &Key,
        value: Value<'_>,
        flags: u64,
        fresh: &mut Option<u32>,
    ) -> Result<(), Errno> {
        let hash = key.hash(self.seed);
        let bucket = &self.buckets[self.bucket_number(hash) as usize];
        let _held = bucket.lock.lock();
        match self.search(bucket, hash, key) {
            Some(_) if flags == NOEXIST => Err(Errno::EEXIST),
            None if flags == EXIST => Err(Errno::ENOENT),
            Some(old) if self.in_place => self.elements.store(memory, old.slot, cpu, value),
            Some(old) => {
                let mut spare;
                let slot = match fresh {
                    Some(slot) => slot,
                    None => {
                        spare = self.spares[cpu as usize % self.spares.len()].0.lock();
                        &mut *spare
                    }
                };
                self.fill(*slot, hash, key);
                self.elements.store(memory, *slot, cpu, value)?;
                // First the new one, then out with the old: a reader finds one of them, but for one that was past the chain's head
                // when the new one came and is not at the old one yet when that goes (as in the kernel's own hash).
                self.push(bucket, *slot);
                self.unlink(bucket, old.before.or(Some(*slot)), old.slot);
                *slot = old.slot;
                Ok(())
            }
            None => {
                let slot = fresh.take().or_else(|| self.free.take(cpu));
                let slot = slot.ok_or(Errno::E2BIG)?;
                self.fill(slot, hash, key);
                self.elements.store_new(memory, slot, cpu, value)?;
                self.push(bucket, slot);
                Ok(())
            }
        }
    }

    /// A slot that is in no chain: a free one, or one whose element goes for it. `None` if all that
    /// the hand came by may not go, or were just being filled by other CPUs.
    fn take_or_evict(
        &self,
        cpu: u32,
        evicting: Evicting<'_, impl Fn(u32, u32) -> bool>,
    ) -> Result<Option<u32>, Trap> {
        let Evicting {
            work,
            price,
            may_go,
        } = evicting;
        self.free.pay(work)?;
        if let Some(slot) = self.free.take(cpu) {
            return Ok(Some(slot));
        }
        let Some(hand) = self.hand.as_ref() else {
            return Ok(None);
        };
        let count = self.slots.len() as u32;
        for passed in 0..2 * MOST_SPARED {
            work.units(price)?;
            let number = hand.fetch_add(1, Ordering::Relaxed) % count;
            let hash = self.slots[number as usize].hash.load(Ordering::Relaxed);
            let bucket = &self.buckets[self.bucket_number(hash) as usize];
            let _held = bucket.lock.lock();
            // In its chain, and that locked, its key does not change.
            if let Some(found) = self.search_by(bucket, |at| at == number)
                && may_go(number, passed)
            {
                self.unlink(bucket, found.before, number);
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    pub(super) fn delete(&self, cpu: u32, key: &Key) -> Result<(), Errno> {
        let hash = key.hash(self.seed);
        let bucket = &self.buckets[self.bucket_number(hash) as usize];
        let _held = bucket.lock.lock();
        let found = self.search(bucket, hash, key).ok_or(Errno::ENOENT)?;
        self.unlink(bucket, found.before, found.slot);
        self.free.give(cpu, found.slot);
        Ok(())
    }

    pub(super) fn next_key(&self, key: Option<&Key>, next: &mut [u8]) -> Result<(), Errno> {
        let after = key.and_then(|key| {
            let hash = key.hash(self.seed);
            let number = self.bucket_number(hash);
            let found = self.search(&self.buckets[number as usize], hash, key)?;
            let link = self.slots[found.slot as usize].next.load(Ordering::Acquire);
            Some((number as usize + 1, link))
        });
        let (rest, link) = after.unwrap_or((0, END));
        let slot = if link & END == 0 {
            link
        } else {
            self.buckets[rest..]
                .iter()
                .map(|bucket| bucket.head.load(Ordering::Acquire))
                .find(|head| head & END == 0)
                .ok_or(Errno::ENOENT)?
        };
        for (bytes, word) in next[..self.key_size].chunks_mut(8).zip(self.key(slot)) {
            let word = word.load(Ordering::Relaxed).to_ne_bytes();
            bytes.copy_from_slice(&word[..bytes.len()]);
        }
        Ok(())
    }

    /// Writes each key to `key` and hands its slot to `each`, until that says no. How many were handed over. Elements
    /// that come, go or move meanwhile may be passed over or seen twice, but never more of them than there is room for.
    pub(super) fn for_each(
        &self,
        key: GuestSlice<'_>,
        work: &Work,
        mut each: impl FnMut(u32) -> Result<bool, Trap>,
    ) -> Result<u32, Trap> {
        let mut seen = 0;
        for (number, bucket) in self.buckets.iter().enumerate() {
            // Empty ones are passed over without a call.
            if number % PASSED == 0 {
                work.units(PASSED as u64)?;
            }
            let mut link = bucket.head.load(Ordering::Acquire);
            while link & END == 0 && (seen as usize) < self.slots.len() {
                // `each` may delete the element.
                let next = self.slots[link as usize].next.load(Ordering::Acquire);
                for (at, word) in (0..).step_by(8).zip(self.key(link)) {
                    key.from(at)
                        .write(&word.load(Ordering::Relaxed).to_ne_bytes());
                }
                seen += 1;
                if !each(link)? {
                    return Ok(seen);
                }
                link = next;
            }
        }
        Ok(seen)
    }

    fn bucket_number(&self, hash: u32) -> u32 {
        hash & (self.buckets.len() as u32 - 1)
    }

    fn key(&self, slot: u32) -> &[AtomicU64] {
        let start = slot as usize * self.key_words;
        &self.keys[start..start + self.key_words]
    }

    /// The first two words of a slot's key, which has them.
    pub(super) fn two_words(&self, slot: u32) -> [u64; 2] {
        let key = self.key(slot);
        [0, 1].map(|at| key[at].load(Ordering::Relaxed))
    }

    fn holds(&self, slot: u32, hash: u32, key: &Key) -> bool {
        self.slots[slot as usize].hash.load(Ordering::Relaxed) == hash
            && self
                .key(slot)
                .iter()
                .zip(key.words())
                .all(|(mine, word)| mine.load(Ordering::Relaxed) == *word)
    }

    /// Searches a bucket whose lock is held (or, for iteration, accepts a stale answer).
    fn search(&self, bucket: &Bucket, hash: u32, key: &Key) -> Option<Found> {
        self.search_by(bucket, |slot| self.holds(slot, hash, key))
    }

    fn search_by(&self, bucket: &Bucket, is_it: impl Fn(u32) -> bool) -> Option<Found> {
        let mut before = None;
        let mut link = bucket.head.load(Ordering::Acquire);
        while link & END == 0 {
            if is_it(link) {
                return Some(Found { slot: link, before });
            }
            before = Some(link);
            link = self.slots[link as usize].next.load(Ordering::Acquire);
        }
        None
    }

    fn fill(&self, slot: u32, hash: u32, key: &Key) {
        for (mine, word) in self.key(slot).iter().zip(key.words()) {
            mine.store(*word, Ordering::Relaxed);
        }
        self.slots[slot as usize]
            .hash
            .store(hash, Ordering::Relaxed);
    }

    /// Makes a filled slot reachable. The bucket's lock is held.
    fn push(&self, bucket: &Bucket, slot: u32) {
        let head = bucket.head.load(Ordering::Relaxed);
        self.slots[slot as usize]
            .next
            .store(head, Ordering::Relaxed);
        bucket.head.store(slot, Ordering::Release);
    }

    /// Makes a slot unreachable that follows `before` (or the head). The bucket's lock is held.
    fn unlink(&self, bucket: &Bucket, before: Option<u32>, slot: u32) {
        let next = self.slots[slot as usize].next.load(Ordering::Relaxed);
        let link = before.map_or(&bucket.head, |before| &self.slots[before as usize].next);
        link.store(next, Ordering::Release);
    }
}

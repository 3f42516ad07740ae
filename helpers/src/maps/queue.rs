//! `BPF_MAP_TYPE_QUEUE` and `BPF_MAP_TYPE_STACK`, as `kernel/bpf/queue_stack_maps.c`: values in the
//! order they came, without keys.

use super::elements::Elements;
use super::{EXIST, MapSpec, NOEXIST, Value};
use crate::guest::{GuestMemory, GuestSlice};
use crate::host::Errno;
use crate::lock::SpinLock;

/// `BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG`.
const FLAGS: u32 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8;

pub(super) fn area_bytes(spec: &MapSpec) -> Result<u64, Errno> {
    if spec.max_entries == 0
        || spec.key_size != 0
        || spec.value_size == 0
        || spec.flags & !FLAGS != 0
    {
        return Err(Errno::EINVAL);
    }
    if spec.value_size > 4 << 20 || spec.max_entries == u32::MAX {
        return Err(Errno::E2BIG);
    }
    Ok(Elements::bytes(spec.value_size, 1, spec.max_entries))
}

/// Which end `pop` takes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// A queue: the oldest.
    First,
    /// A stack: the newest.
    Last,
}

/// Values in a ring of `max_entries` elements.
#[derive(Debug)]
pub(super) struct Queue {
    elements: Elements,
    max_entries: u32,
    order: Order,
    ring: SpinLock<Ring>,
}

/// The occupied part of the ring.
#[derive(Debug, Default)]
struct Ring {
    oldest: u32,
    count: u32,
}

impl Queue {
    /// `spec` has passed [`area_bytes`], and that many bytes lie at `area`.
    pub(super) fn new(spec: &MapSpec, area: u32, order: Order) -> Self {
        Self {
            elements: Elements::new(area, spec.value_size, 1, spec.max_entries),
            max_entries: spec.max_entries,
            order,
            ring: SpinLock::new(Ring::default()),
        }
    }

    /// Adds a value; with `BPF_EXIST` a full map loses its oldest one for it.
    pub(super) fn push(
        &self,
        memory: &GuestMemory,
        value: Value<'_>,
        flags: u64,
    ) -> Result<(), Errno> {
        if flags & NOEXIST != 0 || flags > EXIST {
            return Err(Errno::EINVAL);
        }
        let mut ring = self.ring.lock();
        if ring.count == self.max_entries {
            if flags != EXIST {
                return Err(Errno::E2BIG);
            }
            ring.oldest = self.after(ring.oldest, 1);
            ring.count -= 1;
        }
        let element = self.after(ring.oldest, ring.count);
        ring.count += 1;
        self.elements.store(memory, element, 0, value)
    }

    /// Hands the next value to `take`, and removes it if `remove`.
    pub(super) fn pop(
        &self,
        memory: &GuestMemory,
        remove: bool,
        take: impl FnOnce(GuestSlice<'_>),
    ) -> Result<(), Errno> {
        let mut ring = self.ring.lock();
        let newest = ring.count.checked_sub(1).ok_or(Errno::ENOENT)?;
        let element = match self.order {
            Order::First => ring.oldest,
            Order::Last => self.after(ring.oldest, newest),
        };
        take(self.elements.one(memory, element, 0)?);
        if remove {
            ring.count = newest;
            if self.order == Order::First {
                ring.oldest = self.after(ring.oldest, 1);
            }
        }
        Ok(())
    }

    /// The element `steps` (at most `max_entries`) after `element`, around the ring.
    fn after(&self, element: u32, steps: u32) -> u32 {
        ((u64::from(element) + u64::from(steps)) % u64::from(self.max_entries)) as u32
    }
}

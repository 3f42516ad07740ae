//! `BPF_MAP_TYPE_TASK_STORAGE`: a value for each task that has asked for one, as `kernel/bpf/bpf_task_storage.c`.
//!
//! What it rests on: the kernel hangs values on `struct task_struct` and frees them with it, which a module cannot.
//! Here it is a hash by the task's address and the time it started, so that a task at the address of a dead one is
//! another. A full map takes the values of tasks that are no more ([`Host::task_start`] tells); nothing of a live one is
//! ever lost. There is room for [`TASKS`]; while so many live tasks have values, further ones get none, as natively when
//! memory is short. User space cannot read it by pidfd.

use abi::map_types::MapType;
use abi::traps::Trap;

use super::hash::{self, Evicting, Hash};
use super::{Key, MapSpec, NOEXIST, Value};
use crate::guest::GuestMemory;
use crate::host::{Errno, Host};
use crate::work::{Stop, Work, price};

/// Tasks that have values at the same time.
pub(super) const TASKS: u32 = 4096;

/// `BPF_F_NO_PREALLOC`, which must be there. `BPF_F_CLONE` is for sockets.
const NO_PREALLOC: u32 = 1;

/// Bytes of a value at most: what a large `kmalloc` holds beside the kernel's headers (`BPF_LOCAL_STORAGE_MAX_VALUE_SIZE`).
const MAX_VALUE: u32 = 0xfe00;

/// The hash that it is.
fn table(spec: &MapSpec) -> MapSpec {
    MapSpec {
        map_type: MapType::LruHash,
        key_size: 16,
        value_size: spec.value_size,
        max_entries: TASKS,
        flags: 0,
        inner: None,
    }
}

pub(super) fn area_bytes(spec: &MapSpec, cpus: u32) -> Result<u64, Errno> {
    if spec.key_size != 4
        || spec.value_size == 0
        || spec.max_entries != 0
        || spec.flags != NO_PREALLOC
    {
        return Err(Errno::EINVAL);
    }
    if spec.value_size > MAX_VALUE {
        return Err(Errno::E2BIG);
    }
    hash::area_bytes(&table(spec), cpus, 1)
}

/// Bytes of host memory that it takes besides itself. `spec` has passed [`area_bytes`].
pub(super) fn host_bytes(spec: &MapSpec, cpus: u32) -> Result<u64, Errno> {
    hash::host_bytes(&table(spec), cpus)
}

/// Values of tasks.
#[derive(Debug)]
pub struct TaskStorage {
    hash: Hash,
    value_size: u32,
}

fn key(task: u64, start: u64) -> Result<Key, Errno> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&task.to_ne_bytes());
    bytes[8..].copy_from_slice(&start.to_ne_bytes());
    Key::from_host(&bytes)
}

impl TaskStorage {
    /// `spec` has passed [`area_bytes`], and that many bytes lie at `area`.
    pub(super) fn new(spec: &MapSpec, area: u32, cpus: u32) -> Result<Self, Errno> {
        Ok(Self {
            hash: Hash::new(&table(spec), area, cpus, 1)?,
            value_size: spec.value_size,
        })
    }

    /// Bytes of a value.
    pub fn value_size(&self) -> u32 {
        self.value_size
    }

    /// Offset of the value of the task at `task`, if it has one.
    pub fn get<H: Host>(&self, host: &H, task: u64) -> Option<u32> {
        let slot = self.hash.find(&key(task, host.task_start(task)?).ok()?)?;
        Some(self.hash.elements().offset(slot, 0))
    }

    /// Gives the task at `task` a value, which it has not; where it lies. `None`: there is no such task, or no room. What a full map
    /// takes to find room is paid from `work`.
    ///
    /// # Errors
    ///
    /// [`Trap::Budget`].
    pub fn create<H: Host>(
        &self,
        host: &H,
        memory: &GuestMemory,
        task: u64,
        value: Value<'_>,
        work: &Work,
    ) -> Result<Option<u32>, Trap> {
        let Some(key) = host
            .task_start(task)
            .and_then(|start| key(task, start).ok())
        else {
            return Ok(None);
        };
        let is_dead = |key: [u64; 2]| host.task_start(key[0]) != Some(key[1]);
        let evicting = Evicting {
            work,
            // Each may be a living task's, which is asked for.
            price: price::SLOT + price::ASK,
            may_go: |slot, _| is_dead(self.hash.two_words(slot)),
        };
        let cpu = host.cpu();
        let made = self
            .hash
            .update_evicting(memory, cpu, &key, value, NOEXIST, evicting);
        match made {
            // Another CPU was faster.
            Ok(()) | Err(Stop::Refused(Errno::EEXIST)) => Ok(self.get(host, task)),
            Err(Stop::Refused(_)) => Ok(None),
            Err(Stop::Ended(trap)) => Err(trap),
        }
    }

    /// Takes the task's value away.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it has none.
    pub fn delete<H: Host>(&self, host: &H, task: u64) -> Result<(), Errno> {
        let start = host.task_start(task).ok_or(Errno::ENOENT)?;
        self.hash.delete(host.cpu(), &key(task, start)?)
    }
}

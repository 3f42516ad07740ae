//! The known host.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use wprobe_helpers::guest::GuestSlice;
use wprobe_helpers::host::{Errno, From, Host, PathLayout, Walk};

/// Where the known host has memory: "kernel text" up, "user text" down.
pub(crate) const KERNEL: u64 = 0xffff_8880_0000_0000;
pub(crate) const USER: u64 = 0x7fff_0000_0000;
pub(crate) const TEXT: &[u8] = b"a string\0and more";

/// A task that is not the current one.
pub(crate) const OTHER_TASK: u64 = KERNEL + 64;

pub(crate) struct KnownHost;

/// Where tasks are that have storage, each 64 bytes from the next.
pub(crate) const TASKS: u64 = 0xffff_9000_0000_0000;

/// The root that paths end at: a mount and an entry.
pub(crate) const ROOT: (u64, u64) = (0x2000, 0x9000);

std::thread_local! {
    /// More words of kernel memory.
    pub(crate) static WORDS: RefCell<HashMap<u64, u64>> = RefCell::default();
    /// When all tasks of this thread's host were born.
    pub(crate) static BORN: Cell<u64> = const { Cell::new(1) };
    /// What was traced on this thread.
    pub(crate) static TRACED: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

impl KnownHost {
    fn bytes(base: u64, address: u64, len: usize) -> Result<&'static [u8], Errno> {
        let at = address.checked_sub(base).ok_or(Errno::EFAULT)? as usize;
        TEXT.get(at..at.checked_add(len).ok_or(Errno::EFAULT)?)
            .ok_or(Errno::EFAULT)
    }

    fn number(base: u64, width: u32, address: u64) -> Result<u64, Errno> {
        let mut bytes = [0; 8];
        bytes[..width as usize].copy_from_slice(Self::bytes(base, address, width as usize)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn string(base: u64, to: GuestSlice<'_>, address: u64) -> Result<usize, Errno> {
        let text = Self::bytes(base, address, 9)?;
        let len = to.len().min(text.len());
        to.write(&text[..len]);
        to.set(len - 1, 0);
        Ok(len)
    }
}

impl Host for KnownHost {
    fn ktime_ns(&self) -> u64 {
        111
    }
    fn boottime_ns(&self) -> u64 {
        222
    }
    fn tai_ns(&self) -> u64 {
        333
    }
    fn jiffies(&self) -> u64 {
        444
    }
    fn cpu(&self) -> u32 {
        1
    }
    fn pid_tgid(&self) -> u64 {
        0x10_0000_0020
    }
    fn uid_gid(&self) -> u64 {
        0x30_0000_0040
    }
    fn task(&self) -> u64 {
        KERNEL
    }
    fn comm(&self) -> [u8; 16] {
        *b"comm\0\0\0\0\0\0\0\0\0\0\0\0"
    }
    fn random_u32(&self) -> u32 {
        4
    }
    fn read_kernel(&self, to: GuestSlice<'_>, address: u64) -> Result<(), Errno> {
        to.write(Self::bytes(KERNEL, address, to.len())?);
        Ok(())
    }
    fn load_kernel(&self, width: u32, address: u64) -> Result<u64, Errno> {
        match WORDS.with_borrow(|words| words.get(&address).copied()) {
            Some(word) => Ok(word),
            None => Self::number(KERNEL, width, address),
        }
    }
    fn load_user(&self, width: u32, address: u64) -> Result<u64, Errno> {
        Self::number(USER, width, address)
    }
    fn read_user(&self, to: GuestSlice<'_>, address: u64) -> Result<(), Errno> {
        to.write(Self::bytes(USER, address, to.len())?);
        Ok(())
    }
    fn read_kernel_str(&self, to: GuestSlice<'_>, address: u64) -> Result<usize, Errno> {
        Self::string(KERNEL, to, address)
    }
    fn read_user_str(&self, to: GuestSlice<'_>, address: u64) -> Result<usize, Errno> {
        Self::string(USER, to, address)
    }
    fn cookie(&self, hit: u64) -> u64 {
        assert_eq!(hit, KERNEL);
        77
    }

    fn stack(&self, walk: Walk, to: GuestSlice<'_>) -> Result<usize, Errno> {
        let frames: &[u64] = match (walk.from, walk.user) {
            (From::Context(KERNEL), false) => &[10, 20, 30],
            (From::Context(KERNEL), true) => &[1, 2],
            (From::Task(OTHER_TASK), _) => &[20, 30],
            _ => return Err(Errno::EFAULT),
        };
        let left = frames.get(walk.skip as usize..).ok_or(Errno::EFAULT)?;
        let left = &left[..left.len().min(to.len() / 8)];
        to.write(
            &left
                .iter()
                .flat_map(|f| f.to_ne_bytes())
                .collect::<Vec<_>>(),
        );
        Ok(left.len())
    }
    fn path_layout(&self) -> Option<PathLayout> {
        Some(PathLayout {
            root_mount: ROOT.0,
            root_entry: ROOT.1,
            path_entry: 8,
            entry_name: 8,
            entry_length: 16,
            entry_hashed: 24,
            entry_operations: 32,
            mount_parent: 8,
            mount_point: 16,
            ..PathLayout::default()
        })
    }
    fn numa_node(&self) -> u32 {
        5
    }
    fn per_cpu(&self, address: u64, cpu: u32) -> u64 {
        address + u64::from(cpu) * 0x1000
    }
    fn cgroup_id(&self, level: Option<i32>) -> u64 {
        level.map_or(600, |level| (700 + level) as u64)
    }
    fn is_under_cgroup(&self, cgroup: u64) -> bool {
        cgroup == 0xc1
    }
    fn send_signal(&self, signal: u32, process: bool) -> Result<(), Errno> {
        match (signal, process) {
            (9, true) | (10, false) => Ok(()),
            _ => Err(Errno::EINVAL),
        }
    }
    fn namespace_ids(&self, device: u32, inode: u64) -> Result<(u32, u32), Errno> {
        match (device, inode) {
            (4, 0x2_0000_0000) => Ok((0x11, 0x22)),
            _ => Err(Errno::EINVAL),
        }
    }
    fn task_by_pid(&self, pid: u32) -> Option<u64> {
        (pid == 77).then_some(OTHER_TASK)
    }
    fn task_start(&self, task: u64) -> Option<u64> {
        let number = task.checked_sub(TASKS)? / 64;
        (number < 10_000).then(|| BORN.get())
    }
    fn task_registers(&self, task: u64) -> u64 {
        if task == OTHER_TASK { KERNEL + 8 } else { 0 }
    }
    fn wake(&self, _: usize) {}
    fn trace(&self, text: &[u8]) {
        TRACED.with_borrow_mut(|traced| traced.push(text.to_vec()));
    }
}

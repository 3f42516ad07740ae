//! What a runtime must offer so that maps and helper functions can work on it.

use abi::traps::Trap;

use crate::guest::GuestSlice;

/// A positive errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// The value a helper leaves in `r0`: the negative errno.
    pub const fn as_r0(self) -> u64 {
        -(self.0 as i64) as u64
    }
}

#[expect(missing_docs, reason = "errno(3) documents them")]
impl Errno {
    pub const EPERM: Errno = Errno(1);
    pub const ENOENT: Errno = Errno(2);
    pub const E2BIG: Errno = Errno(7);
    pub const EBADF: Errno = Errno(9);
    pub const EAGAIN: Errno = Errno(11);
    pub const ENOMEM: Errno = Errno(12);
    pub const EFAULT: Errno = Errno(14);
    pub const EBUSY: Errno = Errno(16);
    pub const EEXIST: Errno = Errno(17);
    pub const EINVAL: Errno = Errno(22);
    pub const ENOSPC: Errno = Errno(28);
    pub const ERANGE: Errno = Errno(34);
    pub const EOPNOTSUPP: Errno = Errno(95);
    /// The kernel's own, which bpf(2) lets through.
    pub const ENOTSUPP: Errno = Errno(524);
}

/// Which stack to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// Whose.
    pub from: From,
    /// The user stack, from where the task entered the kernel.
    pub user: bool,
    /// Addresses to leave out first. They count among the [`crate::maps::stack_trace::MAX_DEPTH`] there are at most.
    pub skip: u32,
}

/// Where a stack is walked from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The current task, from the hit that the host knows by a number (0: there is none).
    Context(u64),
    /// The task at an address, where there may be none.
    Task(u64),
}

/// Where the current task's root is, and where the kernel's structs have what makes up a path: offsets in bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct PathLayout {
    /// The root's `struct vfsmount`.
    pub root_mount: u64,
    /// Its `struct dentry`.
    pub root_entry: u64,
    /// `mnt` of a `struct path`.
    pub path_mount: i32,
    /// `dentry` of it.
    pub path_entry: i32,
    /// `d_parent` of a `struct dentry`.
    pub entry_parent: i32,
    /// `d_name.name` of it.
    pub entry_name: i32,
    /// `d_name.len` of it.
    pub entry_length: i32,
    /// `d_hash.pprev` of it.
    pub entry_hashed: i32,
    /// `d_op` of it.
    pub entry_operations: i32,
    /// `d_sb` of it.
    pub entry_super: i32,
    /// `d_inode` of it.
    pub entry_inode: i32,
    /// `d_dname` of a `struct dentry_operations`.
    pub operations_name: i32,
    /// `s_magic` of a `struct super_block`.
    pub super_magic: i32,
    /// `i_ino` of a `struct inode`.
    pub inode_number: i32,
    /// `mnt_root` of a `struct vfsmount`.
    pub mount_root: i32,
    /// Where in a `struct mount` its `struct vfsmount` lies.
    pub mount_inside: i32,
    /// `mnt_parent`, from there.
    pub mount_parent: i32,
    /// `mnt_mountpoint`, from there.
    pub mount_point: i32,
}

/// Bytes of a symbol's name with all that may follow it; longer ones are cut.
pub const POINTER_TEXT: usize = 320;

/// Host primitives. Every method may run inside a probe: none sleeps, allocates or faults. Those with a body are
/// what a host may lack.
pub trait Host {
    /// `ktime_get_mono_fast_ns()`.
    fn ktime_ns(&self) -> u64;
    /// `ktime_get_boot_fast_ns()`.
    fn boottime_ns(&self) -> u64;
    /// `ktime_get_tai_fast_ns()`.
    fn tai_ns(&self) -> u64;
    /// Timer ticks since boot, and what the kernel begins to count at.
    fn jiffies(&self) -> u64;
    /// The CPU this run is bound to.
    fn cpu(&self) -> u32;
    /// `tgid << 32 | pid` of the current task, in the initial namespace.
    fn pid_tgid(&self) -> u64;
    /// `gid << 32 | uid` of the current task, in the initial namespace.
    fn uid_gid(&self) -> u64;
    /// The address of the current `struct task_struct`.
    fn task(&self) -> u64;
    /// The current task's `comm`, NUL-padded.
    fn comm(&self) -> [u8; 16];
    /// A pseudo-random number.
    fn random_u32(&self) -> u32;
    /// Copies kernel memory at `address`; `EFAULT` leaves `to` in any state.
    fn read_kernel(&self, to: GuestSlice<'_>, address: u64) -> Result<(), Errno>;
    /// `width` (1, 2, 4, 8) bytes of kernel memory at `address`, zero-extended.
    fn load_kernel(&self, width: u32, address: u64) -> Result<u64, Errno>;
    /// `width` (1, 2, 4, 8) bytes of user memory at `address`, zero-extended.
    fn load_user(&self, width: u32, address: u64) -> Result<u64, Errno>;
    /// Copies user memory at `address`; `EFAULT` leaves `to` in any state.
    fn read_user(&self, to: GuestSlice<'_>, address: u64) -> Result<(), Errno>;
    /// Copies a NUL-terminated kernel string, cut to fit; the length with NUL.
    fn read_kernel_str(&self, to: GuestSlice<'_>, address: u64) -> Result<usize, Errno>;
    /// Copies a NUL-terminated user string, cut to fit; the length with NUL, but 0 for an empty one
    /// (`strncpy_from_user_nofault`).
    fn read_user_str(&self, to: GuestSlice<'_>, address: u64) -> Result<usize, Errno>;
    /// The first address that is not the current process's, whatever is mapped (`TASK_SIZE`).
    fn user_end(&self) -> u64 {
        (1 << 47) - 4096
    }
    /// How to find paths; `None` if there are none to be found.
    fn path_layout(&self) -> Option<PathLayout> {
        None
    }
    /// Walks a stack and stores its addresses in `to` while they fit; how many. `EFAULT` if there are fewer
    /// than are to be skipped, or no such stack.
    fn stack(&self, _: Walk, _to: GuestSlice<'_>) -> Result<usize, Errno> {
        Err(Errno::EFAULT)
    }
    /// Value of `bpf_get_attach_cookie()`, of the hit that the host knows by a number.
    fn cookie(&self, _hit: u64) -> u64 {
        0
    }
    /// The address of the function that was hit, of the hit that the host knows by a number; 0 if it is none.
    fn function_ip(&self, _hit: u64) -> u64 {
        0
    }
    /// The NUMA node of this CPU.
    fn numa_node(&self) -> u32 {
        0
    }
    /// The address of `cpu`'s instance of the per-CPU variable at `address`, for a possible CPU.
    fn per_cpu(&self, address: u64, _cpu: u32) -> u64 {
        address
    }
    /// The id of the current task's control group (version 2), or of its ancestor at that level from the root; 0 if
    /// there is none.
    fn cgroup_id(&self, _level: Option<i32>) -> u64 {
        0
    }
    /// Whether the current task is in, or below, a control group that the runtime has put into a map.
    fn is_under_cgroup(&self, _cgroup: u64) -> bool {
        false
    }
    /// Sends a signal to the current task, or to its whole process.
    fn send_signal(&self, _signal: u32, _process: bool) -> Result<(), Errno> {
        Err(Errno::EPERM)
    }
    /// The current task's thread and process id in its innermost namespace, if that is inode `_inode` of device `_device`.
    fn namespace_ids(&self, _device: u32, _inode: u64) -> Result<(u32, u32), Errno> {
        Err(Errno::EINVAL)
    }
    /// The address of the task with thread id `_pid` in the initial namespace, if there is one.
    fn task_by_pid(&self, _pid: u32) -> Option<u64> {
        None
    }
    /// When the task at `_task` started; `None` if there is no task.
    fn task_start(&self, _task: u64) -> Option<u64> {
        None
    }
    /// The address of the registers with which the task at `_task` entered the kernel; 0 if there is no task.
    fn task_registers(&self, _task: u64) -> u64 {
        0
    }
    /// Writes what `printk` makes of a pointer with `%p` and `kind` after it: `S`, `s` and `B` its symbol, `K`, and a space, what it
    /// shows of it. How many bytes that are, so many as fit.
    fn pointer_text(&self, kind: u8, address: u64, to: &mut [u8; POINTER_TEXT]) -> usize {
        let symbol = matches!(kind, b'S' | b's' | b'B');
        let value = if symbol { address } else { 0 };
        // Of an address that is no symbol's. Digits are written from behind.
        let mut digits = [b'0'; 16];
        let mut used = 0;
        for (at, digit) in digits.iter_mut().rev().enumerate() {
            let nibble = (value >> (4 * at) & 15) as u8;
            *digit = if nibble < 10 {
                b'0' + nibble
            } else {
                b'a' + nibble - 10
            };
            used = if nibble > 0 { at + 1 } else { used };
        }
        let (before, digits): (&[u8], _) = match symbol {
            true => (b"0x", &digits[16 - used.max(1)..]),
            false => (b"", &digits[..]),
        };
        let text = before.iter().chain(digits);
        let each = to.iter_mut().zip(text);
        each.map(|(to, byte)| *to = *byte).count()
    }
    /// Wakes whoever waits for `waker`, which the runtime chose when it made the ring.
    fn wake(&self, waker: usize);
    /// Writes a line to the trace log (`trace_pipe`).
    fn trace(&self, text: &[u8]);
}

/// What a helper gives back: `r0`, or the end of the run.
pub type Result0 = Result<u64, Trap>;

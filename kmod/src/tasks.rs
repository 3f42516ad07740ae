//! The C half's functions about tasks and stacks, declared once (`shim/{stack,task}.c`); as [`crate::services`].

use helpers::host::{self, PathLayout, Walk};

use crate::allocations;

// SAFETY: as shim/ defines them; nothing else in the module has these names.
unsafe extern "C" {
    fn wp_stack(hit: u64, user: bool, skip: u32, to: *mut u8, room: u32) -> i64;
    fn wp_task_stack(task: u64, user: bool, skip: u32, to: *mut u8, room: u32) -> i64;
    safe fn wp_send_signal(number: u32, process: bool) -> i64;
    safe fn wp_task_by_pid(number: u32) -> u64;
    safe fn wp_task_start(task: u64) -> u64;
    safe fn wp_task_registers(task: u64) -> u64;
    fn wp_namespace_ids(device: u32, inode: u64, pid: *mut u32, tgid: *mut u32) -> bool;
    fn wp_cgroup_get(fd: u32, error: *mut i64) -> u64;
    fn wp_cgroup_put(group: u64);
    fn wp_is_under_cgroup(group: u64) -> bool;
    safe fn wp_cgroup_id(ancestor: bool, level: i32) -> u64;
    fn wp_path_layout(layout: *mut PathLayout) -> bool;
    safe fn wp_tai() -> u64;
    safe fn wp_jiffies() -> u64;
    safe fn wp_numa_node() -> u32;
    safe fn wp_per_cpu(address: u64, cpu: u32) -> u64;
}

/// *probe* Stores the addresses of a stack; how many, or a positive errno.
///
/// # Safety
///
/// `to` is valid for writes of `room` words; a context is a hit that lasts as long as the call.
pub(crate) unsafe fn stack(walk: Walk, to: *mut u8, room: u32) -> Result<usize, i32> {
    let Walk { from, user, skip } = walk;
    // SAFETY: the caller's promise; C makes sure that there is such a task.
    let stored = unsafe {
        match from {
            host::From::Context(hit) => wp_stack(hit, user, skip, to, room),
            host::From::Task(task) => wp_task_stack(task, user, skip, to, room),
        }
    };
    usize::try_from(stored).map_err(|_| -stored as i32)
}

/// *probe* Sends a signal to the current task, or its process, when the run is over; a positive errno if not.
pub(crate) fn send_signal(number: u32, process: bool) -> Result<(), i32> {
    match wp_send_signal(number, process) {
        0 => Ok(()),
        error => Err(-error as i32),
    }
}

/// *probe* The address of the task with a thread id, 0 if there is none.
pub(crate) fn task_by_pid(number: u32) -> u64 {
    wp_task_by_pid(number)
}

/// *probe* When the task at `task` started, 0 if there is no task.
pub(crate) fn task_start(task: u64) -> u64 {
    wp_task_start(task)
}

/// *probe* The address of a task's user registers, 0 if there is no task at `task`.
pub(crate) fn task_registers(task: u64) -> u64 {
    wp_task_registers(task)
}

/// *probe* The current task's thread and process id in its PID namespace, if that is inode `inode` of `device`.
pub(crate) fn namespace_ids(device: u32, inode: u64) -> Option<(u32, u32)> {
    let (mut pid, mut tgid) = (0, 0);
    // SAFETY: C writes the two numbers.
    unsafe { wp_namespace_ids(device, inode, &raw mut pid, &raw mut tgid) }.then_some((pid, tgid))
}

/// *probe* Where the current task's root is, and what leads there; `None` if it has none any more.
pub(crate) fn path_layout() -> Option<PathLayout> {
    let mut layout = PathLayout::default();
    // SAFETY: C fills the struct, which is declared alike in shim/wprobe.h.
    unsafe { wp_path_layout(&raw mut layout) }.then_some(layout)
}

/// A control group, held.
pub(crate) struct Cgroup(u64);

impl Cgroup {
    /// That behind a descriptor of the caller; a positive errno if it is none. Sleeps.
    pub(crate) fn from_fd(fd: u32) -> Result<Self, i32> {
        let mut error = 0;
        // SAFETY: C writes the error.
        let group = unsafe { wp_cgroup_get(fd, &raw mut error) };
        match error {
            0 => {
                allocations::count_allocation();
                Ok(Self(group))
            }
            error => Err(-error as i32),
        }
    }

    /// Gives the hold away, as the number that [`is_under_cgroup`] takes.
    pub(crate) fn into_raw(self) -> u64 {
        core::mem::ManuallyDrop::new(self).0
    }

    /// Takes the hold back.
    ///
    /// # Safety
    ///
    /// `raw` came from [`Cgroup::into_raw`], and no run can see it any more.
    pub(crate) unsafe fn from_raw(raw: u64) -> Self {
        Self(raw)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        allocations::count_free();
        // SAFETY: held, by this alone.
        unsafe { wp_cgroup_put(self.0) };
    }
}

/// *probe* Whether the current task is in, or below, a control group.
///
/// # Safety
///
/// `group` came from [`Cgroup::into_raw`] and was not taken back.
pub(crate) unsafe fn is_under_cgroup(group: u64) -> bool {
    // SAFETY: the caller's promise.
    unsafe { wp_is_under_cgroup(group) }
}

/// *probe* The id of the current task's control group, or of its ancestor at a level; 0 if there is none.
pub(crate) fn cgroup_id(level: Option<i32>) -> u64 {
    wp_cgroup_id(level.is_some(), level.unwrap_or(0))
}

/// *probe* Nanoseconds of International Atomic Time.
pub(crate) fn tai() -> u64 {
    wp_tai()
}

/// *probe* Ticks.
pub(crate) fn jiffies() -> u64 {
    wp_jiffies()
}

/// *probe* The NUMA node of this CPU.
pub(crate) fn numa_node() -> u32 {
    wp_numa_node()
}

/// *probe* The address of a CPU's instance of a per-CPU variable, 0 if the CPU is not possible.
pub(crate) fn per_cpu(address: u64, cpu: u32) -> u64 {
    wp_per_cpu(address, cpu)
}

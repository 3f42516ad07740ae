//! The kernel as the helpers' host.

use helpers::guest::GuestSlice;
use helpers::host::{Errno, Host, POINTER_TEXT, PathLayout, Walk};

use crate::attach::Hit;
use crate::services::{self, From};
use crate::tasks;

/// The running kernel.
pub(crate) struct Kernel;

fn read(kind: From, to: GuestSlice<'_>, address: u64) -> Result<(), Errno> {
    // SAFETY: a guest slice is valid for writes of its length.
    unsafe { services::read(kind, to.as_ptr(), address, to.len()) }.map_err(Errno)
}

fn load(kind: From, width: u32, address: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    let size = bytes.len().min(width as usize);
    // SAFETY: `size` is at most the size of `bytes`.
    unsafe { services::read(kind, bytes.as_mut_ptr(), address, size) }.map_err(Errno)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read_str(kind: From, to: GuestSlice<'_>, address: u64) -> Result<usize, Errno> {
    // SAFETY: as above.
    unsafe { services::read_str(kind, to.as_ptr(), address, to.len()) }.map_err(Errno)
}

impl Host for Kernel {
    fn ktime_ns(&self) -> u64 {
        services::ktime()
    }

    fn boottime_ns(&self) -> u64 {
        services::boottime()
    }

    fn tai_ns(&self) -> u64 {
        tasks::tai()
    }

    fn jiffies(&self) -> u64 {
        tasks::jiffies()
    }

    fn numa_node(&self) -> u32 {
        tasks::numa_node()
    }

    fn per_cpu(&self, address: u64, cpu: u32) -> u64 {
        tasks::per_cpu(address, cpu)
    }

    fn cgroup_id(&self, level: Option<i32>) -> u64 {
        tasks::cgroup_id(level)
    }

    fn is_under_cgroup(&self, cgroup: u64) -> bool {
        // SAFETY: only `map::set_cgroup` puts groups into maps, and it lets go of none that a run can see.
        unsafe { tasks::is_under_cgroup(cgroup) }
    }

    fn send_signal(&self, signal: u32, process: bool) -> Result<(), Errno> {
        tasks::send_signal(signal, process).map_err(Errno)
    }

    fn namespace_ids(&self, device: u32, inode: u64) -> Result<(u32, u32), Errno> {
        tasks::namespace_ids(device, inode).ok_or(Errno::EINVAL)
    }

    fn task_by_pid(&self, pid: u32) -> Option<u64> {
        Some(tasks::task_by_pid(pid)).filter(|task| *task != 0)
    }

    fn task_start(&self, task: u64) -> Option<u64> {
        Some(tasks::task_start(task)).filter(|start| *start != 0)
    }

    fn task_registers(&self, task: u64) -> u64 {
        tasks::task_registers(task)
    }

    fn cpu(&self) -> u32 {
        services::cpu()
    }

    fn pid_tgid(&self) -> u64 {
        services::pid_tgid()
    }

    fn uid_gid(&self) -> u64 {
        services::uid_gid()
    }

    fn task(&self) -> u64 {
        services::task()
    }

    fn comm(&self) -> [u8; 16] {
        services::comm()
    }

    fn random_u32(&self) -> u32 {
        services::random()
    }

    fn read_kernel(&self, to: GuestSlice<'_>, address: u64) -> Result<(), Errno> {
        read(From::Kernel, to, address)
    }

    fn load_kernel(&self, width: u32, address: u64) -> Result<u64, Errno> {
        load(From::Kernel, width, address)
    }

    fn load_user(&self, width: u32, address: u64) -> Result<u64, Errno> {
        load(From::User, width, address)
    }

    fn read_user(&self, to: GuestSlice<'_>, address: u64) -> Result<(), Errno> {
        read(From::User, to, address)
    }

    fn read_kernel_str(&self, to: GuestSlice<'_>, address: u64) -> Result<usize, Errno> {
        read_str(From::Kernel, to, address)
    }

    fn read_user_str(&self, to: GuestSlice<'_>, address: u64) -> Result<usize, Errno> {
        read_str(From::User, to, address)
    }

    fn path_layout(&self) -> Option<PathLayout> {
        tasks::path_layout()
    }

    fn user_end(&self) -> u64 {
        services::user_end()
    }

    fn cookie(&self, hit: u64) -> u64 {
        // SAFETY: a run's context is its hit.
        unsafe { &*(hit as *const Hit) }.cookie()
    }

    fn function_ip(&self, hit: u64) -> u64 {
        // SAFETY: as above.
        unsafe { &*(hit as *const Hit) }.function()
    }

    fn stack(&self, walk: Walk, to: GuestSlice<'_>) -> Result<usize, Errno> {
        let room = (to.len() / 8) as u32;
        // SAFETY: a guest slice is valid for writes of its length; a run's context is its hit.
        unsafe { tasks::stack(walk, to.as_ptr(), room) }.map_err(Errno)
    }

    fn pointer_text(&self, kind: u8, address: u64, to: &mut [u8; POINTER_TEXT]) -> usize {
        services::pointer_text(kind, address, to)
    }

    fn wake(&self, waker: usize) {
        // SAFETY: every waker is a window's, which its ring or map keeps while runs can reach it.
        unsafe { services::wake(waker) };
    }

    fn trace(&self, text: &[u8]) {
        services::trace(text);
    }
}

//! Activity that makes probes fire.

pub mod files;
pub mod fuzz;
pub mod memory;
pub mod nginx;
pub mod paths;
pub mod processes;
pub mod sockets;
pub mod syscalls;
pub mod system;
pub mod user;

use std::io;
use std::thread::ScopedJoinHandle;

/// Runs `work(cpu)` on every online CPU at once, each pinned, until all are done.
pub fn on_every_cpu(work: impl Fn(usize) -> io::Result<()> + Sync) -> io::Result<()> {
    let cpus = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let run = |cpu| {
            pin(cpu)?;
            work(cpu)
        };
        let threads: Vec<_> = (0..cpus).map(|cpu| scope.spawn(move || run(cpu))).collect();
        threads.into_iter().try_for_each(joined)
    })
}

/// What `thread` came to; its panic is the caller's.
pub(crate) fn joined(thread: ScopedJoinHandle<'_, io::Result<()>>) -> io::Result<()> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The calling thread stays on the CPU that it is on, until this is dropped: what both runtimes see of a CPU is then of the same one.
pub struct Stay(libc::cpu_set_t);

impl Stay {
    /// Keeps it there.
    pub fn here() -> io::Result<Self> {
        // SAFETY: `set` is a plain bit set, valid when zero; the call fills it.
        let before = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            match libc::sched_getaffinity(0, std::mem::size_of_val(&set), &raw mut set) {
                0 => set,
                _ => return Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: takes no argument and changes nothing.
        let cpu = unsafe { libc::sched_getcpu() };
        pin(usize::try_from(cpu).map_err(io::Error::other)?)?;
        Ok(Stay(before))
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        // SAFETY: the call only reads the set. It may fail where all those CPUs have gone, and there is nothing to be done then.
        unsafe { libc::sched_setaffinity(0, std::mem::size_of_val(&self.0), &raw const self.0) };
    }
}

/// Keeps the calling thread on `cpu`.
fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: `set` is a plain bit set, valid when zero; the call reads it only.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of_val(&set), &set)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

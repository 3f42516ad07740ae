//! Helper functions: one Rust function a helper, found by the kernel's id.
//!
//! Arguments come as the guest's registers: five unchecked numbers. Sizes are truncated to 32 bits
//! where the kernel's prototype has a `u32`. A bad *guest* pointer is a broken program and traps; a
//! bad *kernel or user* address is daily business and gives a negative errno, as in the kernel.

mod cgroup;
mod control;
mod event;
mod format;
mod function;
mod kfunc;
mod lock;
mod map;
mod packet;
mod path;
mod probe;
mod stack;
mod storage;
mod string;
mod task;
mod time;
mod work;

use abi::traps::Trap;

use crate::guest::GuestSlice;
use crate::host::{Errno, Host};
use crate::space::Space;
pub use control::{Callback, CallbackImplementation, callback_implementation, tail_call};
pub use kfunc::{KFUNCS, kfunc};
pub use packet::packet_load;
pub use probe::probe_load;
pub use work::Work;

/// One run of one program, as its helpers see it.
#[derive(Debug)]
pub struct Run<'a, H> {
    /// The runtime.
    pub host: &'a H,
    /// The program's sandbox.
    pub space: &'a Space,
    /// Address of the native context (`struct pt_regs` of a kprobe), 0 if there is none.
    pub context: u64,
    /// Value of `bpf_get_attach_cookie()`.
    pub cookie: u64,
    /// Tail calls so far.
    pub tail_calls: u32,
    /// How many callbacks deep it is.
    pub depth: u32,
    /// What it may still do.
    pub work: &'a Work,
}

impl<'a, H> Run<'a, H> {
    /// The `len` bytes of guest memory that `pointer` alleges to point to. Every helper gets at memory by this, so it
    /// is where their bytes are paid for.
    ///
    /// # Errors
    ///
    /// As [`crate::guest::GuestMemory::slice`]; [`Trap::Budget`].
    fn slice(&self, pointer: u64, len: u64) -> Result<GuestSlice<'a>, Trap> {
        let slice = self.space.memory().slice(pointer, len)?;
        self.work.bytes(len)?;
        Ok(slice)
    }
}

/// A helper's implementation: registers `r1` to `r5` in, `r0` out.
pub type Implementation<H> = fn(&Run<'_, H>, [u64; 5]) -> Result<u64, Trap>;

/// The implementation of helper `id`; `None` if this crate has none.
pub fn implementation<H: Host>(id: u32) -> Option<Implementation<H>> {
    Some(match id {
        1 => map::lookup_elem,
        2 => map::update_elem,
        3 => map::delete_elem,
        4 => probe::read,
        5 => time::ktime_get_ns,
        6 => format::trace_printk,
        7 => time::get_prandom_u32,
        8 => task::get_smp_processor_id,
        14 => task::get_current_pid_tgid,
        15 => task::get_current_uid_gid,
        16 => task::get_current_comm,
        25 => event::perf_event_output,
        27 => stack::get_stackid,
        35 | 158 => task::get_current_task,
        37 => cgroup::current_task_under_cgroup,
        42 => task::get_numa_node_id,
        45 => probe::read_str,
        67 => stack::get_stack,
        80 => cgroup::get_current_cgroup_id,
        87 => map::push_elem,
        88 => map::pop_elem,
        89 => map::peek_elem,
        93 => lock::spin_lock,
        94 => lock::spin_unlock,
        105 => string::strtol,
        106 => string::strtoul,
        109 => task::send_signal,
        112 => probe::read_user,
        113 => probe::read_kernel,
        114 => probe::read_user_str,
        115 => probe::read_kernel_str,
        117 => task::send_signal_thread,
        118 => time::jiffies64,
        120 => task::get_ns_current_pid_tgid,
        123 => cgroup::get_current_ancestor_cgroup_id,
        125 => time::ktime_get_boot_ns,
        130 => event::ringbuf_output,
        131 => event::ringbuf_reserve,
        132 => event::ringbuf_submit,
        133 => event::ringbuf_discard,
        134 => event::ringbuf_query,
        141 => stack::get_task_stack,
        147 => path::d_path,
        148 => probe::copy_from_user,
        153 => task::per_cpu_ptr,
        154 => task::this_cpu_ptr,
        156 => storage::task_storage_get,
        157 => storage::task_storage_delete,
        160 => time::ktime_get_coarse_ns,
        165 => format::snprintf,
        174 => task::get_attach_cookie,
        175 => task::task_pt_regs,
        177 => format::trace_vprintk,
        182 => string::strncmp,
        183 => function::get_func_arg,
        184 => function::get_func_ret,
        185 => function::get_func_arg_cnt,
        195 => map::lookup_percpu_elem,
        208 => time::ktime_get_tai_ns,
        _ => return None,
    })
}

/// What a helper that can fail leaves in `r0`: 0 or the negative errno.
fn r0(result: Result<(), Errno>) -> u64 {
    match result {
        Ok(()) => 0,
        Err(errno) => errno.as_r0(),
    }
}

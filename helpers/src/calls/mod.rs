//! Helper functions: one Rust function a helper, found by the kernel's id.
//!
//! Arguments come as the guest's registers: five unchecked numbers. Sizes are truncated to 32 bits
//! where the kernel's prototype has a `u32`. A bad *guest* pointer is a broken program and traps; a
//! bad *kernel or user* address is daily business and gives a negative errno, as in the kernel.

mod cgroup;
mod control;
mod dynptr;
mod event;
mod format;
mod function;
mod iter;
mod kfunc;
mod lock;
mod map;
mod packet;
mod path;
mod probe;
mod sink;
mod stack;
mod storage;
mod string;
mod take;
mod task;
mod time;
mod within;

use abi::helpers::TAIL_CALL;
use abi::traps::Trap;

use crate::guest::GuestSlice;
use crate::host::{Errno, Host};
use crate::space::Space;
pub use crate::work::Work;
pub use control::{Callback, CallbackImplementation, tail_call};
pub use kfunc::kfunc;
pub use packet::packet_load;
pub use probe::probe_load;
pub use take::{Action, AsValue, Take, only};
pub use within::{Nested, Within, tail_call_result, tail_call_within};

/// One run of one program, as its helpers see it.
#[derive(Debug)]
pub struct Run<'a, H> {
    /// The runtime.
    pub host: &'a H,
    /// The program's sandbox.
    pub space: &'a Space,
    /// The CPU it is on.
    pub cpu: u32,
    /// What the host knows the hit by, 0 if there is none.
    pub context: u64,
    /// Tail calls so far.
    pub tail_calls: u32,
    /// How many callbacks deep it is.
    pub depth: u32,
    /// The runs it is nested in.
    pub nested: Nested,
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

/// Has the implementation of helper `id` taken; `None` if this crate has none.
// Of what most programs call, `take` gets a closure: its own, which is compiled into what it makes of it. A function would
// be everybody's, and called.
pub fn take_implementation<H: Host, T: Take<H>>(id: u32, take: T) -> Option<T::Taken> {
    Some(match id {
        TAIL_CALL => take.tail_call(),
        1 => take.call(|run, args| map::lookup_elem(run, args)),
        2 => take.call(|run, args| map::update_elem(run, args)),
        3 => take.call(map::delete_elem),
        4 => take.call(probe::read),
        6 => take.call(format::trace_printk),
        8 => take.call(task::get_smp_processor_id),
        16 => take.call(|run, args| task::get_current_comm(run, args)),
        25 => take.call(event::perf_event_output),
        27 => take.call(|run, args| stack::get_stackid(run, args)),
        37 => take.call(cgroup::current_task_under_cgroup),
        45 => take.call(probe::read_str),
        67 => take.call(stack::get_stack),
        87 => take.call(map::push_elem),
        88 => take.call(map::pop_elem),
        89 => take.call(map::peek_elem),
        93 => take.call(lock::spin_lock),
        94 => take.call(lock::spin_unlock),
        105 => take.call(string::strtol),
        106 => take.call(string::strtoul),
        109 => take.call(task::send_signal),
        112 => take.call(|run, args| probe::read_user(run, args)),
        113 => take.call(|run, args| probe::read_kernel(run, args)),
        114 => take.call(|run, args| probe::read_user_str(run, args)),
        115 => take.call(|run, args| probe::read_kernel_str(run, args)),
        117 => take.call(task::send_signal_thread),
        120 => take.call(task::get_ns_current_pid_tgid),
        123 => take.call(cgroup::get_current_ancestor_cgroup_id),
        130 => take.call(event::ringbuf_output),
        131 => take.call(event::ringbuf_reserve),
        132 => take.call(event::ringbuf_submit),
        133 => take.call(event::ringbuf_discard),
        134 => take.call(event::ringbuf_query),
        141 => take.call(stack::get_task_stack),
        147 => take.call(path::d_path),
        148 => take.call(probe::copy_from_user),
        153 => take.call(task::per_cpu_ptr),
        154 => take.call(task::this_cpu_ptr),
        156 => take.call(storage::task_storage_get),
        157 => take.call(storage::task_storage_delete),
        165 => take.call(format::snprintf),
        173 => take.call(function::get_func_ip),
        174 => take.call(task::get_attach_cookie),
        175 => take.call(task::task_pt_regs),
        177 => take.call(format::trace_vprintk),
        182 => take.call(string::strncmp),
        183 => take.call(function::get_func_arg),
        184 => take.call(function::get_func_ret),
        185 => take.call(function::get_func_arg_cnt),
        195 => take.call(map::lookup_percpu_elem),
        197 => take.call(dynptr::from_mem),
        198 => take.call(dynptr::ringbuf_reserve),
        199 => take.call(dynptr::ringbuf_submit),
        200 => take.call(dynptr::ringbuf_discard),
        201 => take.call(dynptr::read),
        202 => take.call(dynptr::write),
        203 => take.call(dynptr::data),
        164 => take.callback(control::for_each_map_elem),
        181 => take.callback(control::bpf_loop),
        _ => return take_reading(id, take),
    })
}

/// Those of [`abi::native::READING`].
fn take_reading<H: Host, T: Take<H>>(id: u32, take: T) -> Option<T::Taken> {
    Some(match id {
        5 => take.reading(time::ktime_get_ns),
        7 => take.reading(time::get_prandom_u32),
        14 => take.reading(task::get_current_pid_tgid),
        15 => take.reading(task::get_current_uid_gid),
        35 | 158 => take.reading(task::get_current_task),
        42 => take.reading(task::get_numa_node_id),
        80 => take.reading(cgroup::get_current_cgroup_id),
        118 => take.reading(time::jiffies64),
        125 => take.reading(time::ktime_get_boot_ns),
        160 => take.reading(time::ktime_get_coarse_ns),
        208 => take.reading(time::ktime_get_tai_ns),
        _ => return None,
    })
}

/// The implementation of helper `id` that returns; `None` if this crate has none.
pub fn implementation<H: Host>(id: u32) -> Option<Implementation<H>> {
    match take_implementation(id, AsValue)? {
        Action::Call(run) => Some(run),
        Action::Callback(_) | Action::TailCall | Action::TailCallWithin => None,
    }
}

/// The implementation of helper `id`, if it calls functions of the module.
pub fn callback_implementation<H: Host>(id: u32) -> Option<CallbackImplementation<H>> {
    match take_implementation(id, AsValue)? {
        Action::Callback(run) => Some(run),
        Action::Call(_) | Action::TailCall | Action::TailCallWithin => None,
    }
}

/// What a helper that can fail leaves in `r0`: 0 or the negative errno.
fn r0(result: Result<(), Errno>) -> u64 {
    match result {
        Ok(()) => 0,
        Err(errno) => errno.as_r0(),
    }
}

//! `helpers/HELPERS.md`: every helper of the kernel, where it is provided, and what is otherwise.

use std::fmt::Write as _;

use abi::helpers::{Arg, HELPERS, Helper, KFUNCS, SESSION_COOKIE, SESSION_IS_RETURN};
use abi::imports::BPF;
use helpers::guest::GuestSlice;
use helpers::host::{Errno, Host};
use helpers::imports::host_function;

/// What is to be said of a helper that is provided.
const NOTES: &[(&str, &str)] = &[
    (
        "tail_call",
        "in a callback it traps. From functions that the program calls it nests three deep at most, where native goes on to 33. Only calls that are taken count among the 33, in the whole run, as since Linux 6.12",
    ),
    (
        "get_current_comm",
        "padded with zeros, as natively but in Linux 6.1",
    ),
    ("get_stackid", "no build ids"),
    ("get_stack", "no build ids (`-EOPNOTSUPP`)"),
    (
        "get_task_stack",
        "of another task with the scheduler's own frames, which native leaves out; of a running one: none",
    ),
    (
        "send_signal",
        "when the run is over: a second one in the same run gives `-EBUSY`, as natively with interrupts off",
    ),
    ("send_signal_thread", "as send_signal"),
    (
        "d_path",
        "by reads that may fail: a file that is moved meanwhile may have a mixed path; namespaces' files and such `-EOPNOTSUPP`",
    ),
    (
        "copy_from_user",
        "never sleeps: `-EFAULT` where the page is not there",
    ),
    (
        "ktime_get_coarse_ns",
        "the fine clock: the coarse one can wait for what a probe interrupted",
    ),
    (
        "spin_lock",
        "gives up with a trap when the budget is used up, of which each try takes some; no `BPF_F_LOCK`",
    ),
    (
        "task_storage_get",
        "4,096 tasks at a time; user space cannot read it by pidfd",
    ),
    (
        "loop",
        "at most two deep, with for_each_map_elem; a negative result has 64 bits, where native inlines the loop 32",
    ),
    ("for_each_map_elem", "arrays and hashes, as loop"),
    (
        "get_current_task_btf",
        "an address, of which every load is fault-safe",
    ),
    ("get_attach_cookie", "of the attach types there are"),
    ("task_pt_regs", "0 where there is no such task"),
    ("snprintf", SYMBOLS),
    ("trace_printk", SYMBOLS),
    ("trace_vprintk", SYMBOLS),
    (
        "get_func_ip",
        "in uprobes too on each kernel, natively since Linux 6.6; 0 where no function was hit",
    ),
    (
        "dynptr_write",
        "flags are looked at when the range is known to be good, as since Linux 6.4",
    ),
];

/// Of what formats.
const SYMBOLS: &str =
    "symbols (`%ps`, `%pS`, `%pB`) of 320 bytes at most; outside the kernel they are addresses";

/// What a process cannot give: in the user-space runtime these always fail, with the error named.
const NOT_IN_USER_SPACE: &[(&str, &str)] = &[
    ("get_stackid", "`-EFAULT`"),
    ("get_stack", "`-EFAULT`"),
    ("get_task_stack", "`-EFAULT`"),
    ("get_current_task", "0"),
    ("get_current_task_btf", "0"),
    ("probe_read_kernel", "`-EFAULT`, but of guest memory"),
    ("probe_read_kernel_str", "`-EFAULT`, but of guest memory"),
    ("current_task_under_cgroup", "`-EAGAIN`"),
    ("get_current_cgroup_id", "0"),
    ("get_current_ancestor_cgroup_id", "0"),
    ("send_signal", "`-EPERM`"),
    ("send_signal_thread", "`-EPERM`"),
    ("get_ns_current_pid_tgid", "`-EINVAL`"),
    ("per_cpu_ptr", "the address itself"),
    ("this_cpu_ptr", "the address itself"),
    ("task_pt_regs", "0"),
    ("get_func_ip", "0"),
    ("d_path", "`-EFAULT`"),
    ("task_storage_get", "0"),
    ("task_storage_delete", "`-ENOENT`"),
];

/// Why a helper is not provided, if not for the reason that its arguments show.
const REASONS: &[(&str, &str)] = &[
    (
        "probe_write_user",
        "left out: it changes the memory of processes, which no probe here does",
    ),
    (
        "override_return",
        "the kernel offers a module no error injection; probes never change the probed path",
    ),
    ("perf_event_read", "not yet"),
    ("perf_event_read_value", "not yet"),
    ("perf_prog_read_value", "not yet: a perf event's own"),
    ("read_branch_records", "not exported to modules"),
    ("get_branch_snapshot", "not exported to modules"),
    (
        "get_socket_cookie",
        "writes a cookie into a socket that has none yet, and no address is known to be a socket's here",
    ),
    ("snprintf_btf", "needs the kernel's BTF in the kernel"),
    ("seq_printf", "iterators: no such program type"),
    ("seq_write", "iterators: no such program type"),
    ("seq_printf_btf", "iterators: no such program type"),
    ("timer_init", "a callback outside a probe: not yet"),
    ("timer_set_callback", "as timer_init"),
    ("timer_start", "as timer_init"),
    ("timer_cancel", "as timer_init"),
    ("kptr_xchg", "holds kernel objects, which nothing here does"),
    ("user_ringbuf_drain", "no such map yet"),
    ("find_vma", "takes a lock that a probe may have interrupted"),
    ("copy_from_user_task", "sleeps"),
    ("sys_bpf", "system calls: no such program type"),
    ("sys_close", "system calls: no such program type"),
    (
        "btf_find_by_name_kind",
        "system calls: no such program type",
    ),
    ("kallsyms_lookup_name", "not exported to modules"),
    ("ima_inode_hash", "sleeps"),
    ("ima_file_hash", "sleeps"),
    ("bprm_opts_set", "changes what it observes"),
    ("set_retval", "changes what it observes"),
    ("get_retval", "cgroup programs only"),
    ("get_local_storage", "cgroup programs only"),
    ("sock_from_file", "not exported to modules"),
    ("inode_storage_get", "no such map yet"),
    ("inode_storage_delete", "no such map yet"),
    ("cgrp_storage_get", "no such map yet"),
    ("cgrp_storage_delete", "no such map yet"),
];

/// A host of which only the type is needed.
struct Nobody;

impl Host for Nobody {
    fn ktime_ns(&self) -> u64 {
        0
    }
    fn boottime_ns(&self) -> u64 {
        0
    }
    fn tai_ns(&self) -> u64 {
        0
    }
    fn jiffies(&self) -> u64 {
        0
    }
    fn cpu(&self) -> u32 {
        0
    }
    fn pid_tgid(&self) -> u64 {
        0
    }
    fn uid_gid(&self) -> u64 {
        0
    }
    fn task(&self) -> u64 {
        0
    }
    fn comm(&self) -> [u8; 16] {
        [0; 16]
    }
    fn random_u32(&self) -> u32 {
        0
    }
    fn read_kernel(&self, _: GuestSlice<'_>, _: u64) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    fn load_kernel(&self, _: u32, _: u64) -> Result<u64, Errno> {
        Err(Errno::EFAULT)
    }
    fn load_user(&self, _: u32, _: u64) -> Result<u64, Errno> {
        Err(Errno::EFAULT)
    }
    fn read_user(&self, _: GuestSlice<'_>, _: u64) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }
    fn read_kernel_str(&self, _: GuestSlice<'_>, _: u64) -> Result<usize, Errno> {
        Err(Errno::EFAULT)
    }
    fn read_user_str(&self, _: GuestSlice<'_>, _: u64) -> Result<usize, Errno> {
        Err(Errno::EFAULT)
    }
    fn wake(&self, _: usize) {}
    fn trace(&self, _: &[u8]) {}
}

fn is_provided(helper: &Helper) -> bool {
    host_function::<Nobody>(BPF, helper.name).is_some_and(|f| f.provided)
}

fn note(notes: &[(&'static str, &'static str)], helper: &Helper) -> Option<&'static str> {
    let row = notes.iter().find(|(name, _)| *name == helper.name);
    row.map(|(_, text)| *text)
}

/// Why a helper is not provided.
fn reason(helper: &Helper) -> &'static str {
    let about_packets = matches!(helper.args.first(), Some(Arg::Ctx | Arg::Kernel));
    note(REASONS, helper).unwrap_or(match about_packets {
        true => "sockets and packets: no such program type",
        false => "networking: no such program type",
    })
}

/// The whole file.
pub(super) fn table() -> String {
    let provided = HELPERS.iter().filter(|helper| is_provided(helper)).count();
    let mut text = format!(
        "<!-- Generated by `cargo xtask generate` from xtask/src/generate/helpers.rs. -->\n\
         # Helpers\n\n\
         Of the kernel's {} helpers, {provided} are provided, by the same code in the kernel module and in the user-space runtime.\n\
         A program that calls another one traps there, and loads all the same. Kernel functions (kfuncs):\n{}; objects are addresses, and nothing is held.\n\
         Translated code itself does what programs of sessions ask: {SESSION_IS_RETURN}, {SESSION_COOKIE}.\n\n\
         Of the 70 tracing objects in Debian's packages, 69 call nothing else (`diff-tests/tests/tracing.rs`); one calls xdp_output. \
         Every helper and kernel function here is called\nwith good and bad arguments beside native eBPF, on each kernel of the \
         tests (`corpus/src/calls_*.bpf.c`); what differs is in the notes.\n\n\
         | id | helper | kernel | user space | notes |\n|---|---|---|---|---|\n",
        HELPERS.len(),
        KFUNCS.join(", "),
    );
    for helper in HELPERS {
        let (kernel, user, notes) = match is_provided(helper) {
            true => (
                "yes",
                note(NOT_IN_USER_SPACE, helper).unwrap_or("yes"),
                note(NOTES, helper).unwrap_or_default(),
            ),
            false => ("–", "–", reason(helper)),
        };
        let row = format!(
            "| {} | {} | {kernel} | {user} | {notes} |",
            helper.id, helper.name
        );
        writeln!(text, "{row}").expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_of_helpers_that_are_as_said() {
        let find = |name: &str| abi::helpers::by_name(name).expect(name);
        for (name, _) in NOTES.iter().chain(NOT_IN_USER_SPACE) {
            assert!(is_provided(find(name)), "{name} is not provided");
        }
        for (name, _) in REASONS {
            assert!(!is_provided(find(name)), "{name} is provided");
        }
    }
}

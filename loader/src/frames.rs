//! Frames of kernel stacks: the functions they are in, and which of them brought a runtime there.
//!
//! A program under native eBPF is called through JIT-compiled code and a trampoline, under the wasm runtime through
//! `wprobe.ko`.

use std::fs;

use anyhow::{Context, Result};

/// The kernel's functions, by address.
pub(crate) struct Functions {
    sorted: Vec<(u64, String)>,
}

impl Functions {
    /// Reads them, with the programs and trampolines that are there now.
    pub(crate) fn read() -> Result<Self> {
        let text = fs::read_to_string("/proc/kallsyms").context("/proc/kallsyms")?;
        Ok(Functions::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let symbol = |line: &str| {
            let (address, rest) = line.split_once(' ')?;
            let address = u64::from_str_radix(address, 16).ok()?;
            Some((address, rest.get(2..)?.to_owned()))
        };
        let mut sorted: Vec<_> = text.lines().filter_map(symbol).collect();
        sorted.sort();
        Functions { sorted }
    }

    /// The start of the function that `address` is in, and its name with its module.
    pub(crate) fn at(&self, address: u64) -> (u64, &str) {
        let after = self.sorted.partition_point(|(start, _)| *start <= address);
        let found = after.checked_sub(1).and_then(|at| self.sorted.get(at));
        found.map_or((address, "?"), |(start, name)| (*start, name))
    }

    /// How many frames a runtime added at the inner end of `stack`.
    pub(crate) fn of_runtime(&self, stack: &[u64]) -> usize {
        let own = |address: &u64| *address >> 63 == 0 || !is_runtime(self.at(*address).1);
        stack.iter().position(own).unwrap_or(stack.len())
    }

    /// The same, where there is no doubt: a program's own code is among them, or the kernel module's. Without it, the inner
    /// end is a function that was probed, whatever it is called.
    pub(crate) fn surely_of_runtime(&self, stack: &[u64]) -> usize {
        let frames = self.of_runtime(stack);
        let is_code = |address: &u64| {
            let (_, module) = self.at(*address).1.split_once('\t').unwrap_or_default();
            module == "[bpf]" || module == "[wprobe]"
        };
        match stack[..frames].iter().any(is_code) && frames < stack.len() {
            true => frames,
            false => 0,
        }
    }
}

/// Whether a function is part of how a runtime gets from an event to a program.
fn is_runtime(name: &str) -> bool {
    let (name, module) = name.split_once('\t').unwrap_or((name, ""));
    const PARTS: &[&str] = &[
        "bpf_",
        "__bpf_",
        "trace_call_bpf",
        "kprobe_",
        "__kprobe",
        "ftrace_",
        "perf_trace_",
        "perf_call_bpf",
        "kretprobe_",
        "arch_ftrace",
        "__traceiter_",
        "trace_event_raw",
        "wp_",
        "uprobe",
        "aggr_",
        "opt_pre",
        "optimized_callback",
        "rethook",
        "arch_rethook",
        "__arch_",
    ];
    module == "[wprobe]" || module == "[bpf]" || PARTS.iter().any(|part| name.starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_runtime_are_those_before_the_first_that_is_not() {
        let functions = Functions::parse(
            "ffffffff81000000 T __schedule\nffffffff81001000 T bpf_trace_run4\nffffffff81002000 T bpf_map_new_fd\n\
             ffffffffc0001000 t bpf_prog_12ab_switch\t[bpf]\nffffffffc0002000 t wprobe_hit\t[wprobe]\n",
        );
        let [schedule, trampoline, probed, program, hit] = [
            0xffff_ffff_8100_0010,
            0xffff_ffff_8100_1010,
            0xffff_ffff_8100_2010,
            0xffff_ffff_c000_1010,
            0xffff_ffff_c000_2010,
        ];
        let both = |stack: &[u64]| {
            (
                functions.of_runtime(stack),
                functions.surely_of_runtime(stack),
            )
        };
        assert_eq!(both(&[program, trampoline, schedule]), (2, 2));
        assert_eq!(both(&[hit, schedule]), (1, 1));
        assert_eq!(both(&[probed, schedule]), (1, 0));
        assert_eq!(both(&[schedule, program]), (0, 0));
        assert_eq!(both(&[program]), (1, 0));
        assert_eq!(both(&[0x1000, 0x2000]), (0, 0));
    }
}

//! Programs that ask whether there is something, and else take another way: native ones have the kernel's answers, those in wasm
//! the runtime's, and neither run into what is not there.

use std::fs;

use abi::helpers::{HELPERS, KFUNCS};
use anyhow::{Context, Result, ensure};

use super::Case;
use super::attach::place;
use crate::compare::counters;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[(
    "asks::the_runtime_answers_for_itself_and_the_kernel_for_native_programs",
    asks,
)];

const EVENTS: u64 = 100;

/// What a question of `corpus/src/asks.bpf.c` is about.
enum Asked {
    /// What every kernel and the runtime have.
    Everywhere,
    /// What the kernel has, and the runtime by no means.
    Kernel,
    /// What neither has.
    Nowhere,
    /// A helper that every kernel of the tests has.
    Helper(&'static str),
    /// A kernel function.
    Kfunc(&'static str),
    /// A kernel function with another prototype: the runtime's, where the kernel has none to hold it against.
    Flavour(&'static str),
    /// A type that only some kernels have, and which the runtime has no use for.
    Type(&'static str),
}

/// In the order of their numbers.
const QUESTIONS: [Asked; 20] = [
    Asked::Helper("ktime_get_boot_ns"),
    Asked::Helper("snprintf_btf"),
    Asked::Nowhere,
    Asked::Everywhere,
    Asked::Kernel,
    Asked::Everywhere,
    Asked::Kernel,
    Asked::Everywhere,
    Asked::Everywhere,
    Asked::Nowhere,
    Asked::Nowhere,
    Asked::Everywhere,
    Asked::Everywhere,
    Asked::Nowhere,
    Asked::Kfunc("bpf_task_acquire"),
    Asked::Kfunc("bpf_rcu_read_lock"),
    Asked::Flavour("bpf_rcu_read_lock"),
    Asked::Kfunc("bpf_cpumask_create"),
    Asked::Nowhere,
    Asked::Type("bpf_cpumask"),
];

fn asks() -> Result<()> {
    let object = corpus::object("asks")?;
    let mut native = Native::load(object, "asks", &["asks"])?;
    let mut wasm = Wasm::load(&guest::device()?, object, "asks", &["asks"])?;
    native.attach()?;
    wasm.attach()?;
    syscalls::getpgid(EVENTS);
    native.detach();
    wasm.detach();
    let traps: Vec<_> = wasm.programs()?.iter().map(|p| p.traps).collect();
    ensure!(traps == [0], "{traps:?} traps");
    let symbols = fs::read_to_string("/proc/kallsyms")?;
    let types = fs::read("/sys/kernel/btf/vmlinux")?;
    let has_symbol = |name| {
        symbols
            .lines()
            .any(|line| line.split(' ').nth(2) == Some(name))
    };
    let has_type = |name: &str| {
        let string = [b"\0", name.as_bytes(), b"\0"].concat();
        types.windows(string.len()).any(|window| window == string)
    };
    let helper = |name: &str| HELPERS.iter().any(|row| row.name == name && row.provided);
    let [theirs, ours] = [native.section(".bss")?, wasm.section(".bss")?].map(|bss| ways(&bss));
    let (theirs, ours) = (theirs?, ours?);
    for (number, asked) in QUESTIONS.iter().enumerate() {
        let (kernel, runtime) = match asked {
            Asked::Everywhere => (true, true),
            Asked::Kernel => (true, false),
            Asked::Nowhere => (false, false),
            Asked::Helper(name) => (true, helper(name)),
            Asked::Kfunc(name) => (has_symbol(name), KFUNCS.contains(name)),
            Asked::Flavour(name) => (false, !has_symbol(name)),
            Asked::Type(name) => (has_type(name), false),
        };
        for (side, ways, expected) in [("native", &theirs, kernel), ("wasm", &ours, runtime)] {
            let [there, other] = ways[number];
            ensure!(
                there + other >= EVENTS && (there == 0) != (other == 0) && (there > 0) == expected,
                "question {number}, {side}: {there} there, {other} not; expected {expected}"
            );
        }
    }
    Ok(())
}

/// How often a program found what it asked for, and how often not, by question.
fn ways(bss: &[u8]) -> Result<Vec<[u64; 2]>> {
    let at = place(corpus::object("asks")?, "ways")?;
    let words = bss.get(at..at + 16 * QUESTIONS.len());
    let words = counters(words.context("`ways` is shorter")?);
    Ok(words.chunks_exact(2).map(|way| [way[0], way[1]]).collect())
}

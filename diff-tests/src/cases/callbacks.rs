//! Helpers that call functions of the module, in probes: against native eBPF, and with hostile functions.

use abi::uapi::AttachPoint;
use anyhow::{Context, Result, ensure};
use loader::device::{Code, Device, LinkSpec, ModuleSpec, text};
use loader::load::Engine;
use loader::resident::trap;

use super::Case;
use crate::compare::counters;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::{on_every_cpu, syscalls};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("callbacks::equal_native", equal),
    ("callbacks::hostile_ones_trap", hostile),
];

fn equal() -> Result<()> {
    let device = guest::device()?;
    let object = corpus::object("callbacks")?;
    for program in ["loops_in_probe", "elements_in_probe"] {
        let mut native = Native::load(object, "callbacks", &[program])?;
        let mut wasm = Wasm::load(&device, object, "callbacks", &[program])?;
        native.attach()?;
        wasm.attach()?;
        // Once: what a map holds the second time depends on the order of the first.
        syscalls::getpgrp(1);
        let [native, wasm] = [native.section(".bss")?, wasm.section(".bss")?].map(|b| counters(&b));
        ensure!(
            native == wasm,
            "{program}: native {native:?}, wasm {wasm:?}"
        );
        let seen = native.iter().filter(|result| **result != 0).count();
        ensure!(seen > 7, "{program}: {native:?}");
    }
    Ok(())
}

/// Each export of `modules/callbacks.wat`, and what its trap says.
const HOSTILE: &[(&str, &str)] = &[
    ("nest", "call stack"),
    ("forever", "budget"),
    ("deep", "call stack"),
    ("wild", "out of bounds"),
    ("type", "indirect call"),
    ("null", "indirect call"),
    ("outside", "indirect call"),
    ("far", "indirect call"),
    ("long", "budget"),
    ("no_map", "map"),
    ("nowhere", "map"),
];

/// Every run traps, on all CPUs at once.
fn hostile() -> Result<()> {
    let device: Device = guest::device()?;
    let sandbox = device.create_sandbox("callbacks", 1 << 20)?;
    let wasm = corpus::module("callbacks")?;
    let native = match Engine::preferred()? {
        Engine::Auto | Engine::Jit => Code::Compile,
        Engine::Wasmi => Code::Interpreted,
    };
    let module = sandbox.load(&ModuleSpec {
        native,
        name: "callbacks",
        wasm,
        trap_limit: 0,
        fuel: 100_000,
    })?;
    for (name, why) in HOSTILE {
        let export = format!("kprobe:{name}:");
        let point = AttachPoint::Kprobe;
        let link = module.attach(&LinkSpec::new(&export, "__x64_sys_getpgrp", point))?;
        on_every_cpu(|_| {
            syscalls::getpgrp(50);
            Ok(())
        })?;
        drop(link);
        let programs = module.programs()?;
        let program = programs.iter().find(|p| text(&p.name) == export);
        let program = program.context("its program")?;
        let (runs, traps) = (program.runs, program.traps);
        ensure!(
            runs >= 50 && runs == traps,
            "{name}: {runs} runs, {traps} traps"
        );
        let said = trap(None, program.last_trap, program.last_site);
        ensure!(
            said.contains(why),
            "{name}: trapped with {said:?}, not {why:?}"
        );
    }
    Ok(())
}

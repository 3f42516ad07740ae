//! Code that the kernel module compiles, and code that it is given: what is proven runs for anybody, nothing else for those who may
//! not load kernel modules; and a load that fails, fails alone.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use abi::native::{HEADER, Image};
use abi::uapi::Engine;
use anyhow::{Context, Result, bail, ensure};
use loader::device::{Code, Device, Module, ModuleSpec, Sandbox};
use loader::user::compile;
use sha2::{Digest, Sha256};
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    TypeSection, ValType,
};

use super::Case;
use super::privileges::as_nobody;
use super::rights::{TRACING, with_rights};
use crate::hostile::calls::PAGE;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("compiled::is_what_runs_if_nobody_says_otherwise", default),
    ("compiled::what_is_proven_needs_no_right", proven),
    ("compiled::an_image_that_is_not_proven_needs_one", unproven),
    ("compiled::without_memory_a_load_fails_alone", memory),
    ("compiled::a_load_that_is_killed_ends", killed),
];

const MEMORY: u32 = 1 << 20;
/// Where an image has the checksum of its body.
const CHECKSUM: std::ops::Range<usize> = HEADER - 32..HEADER;

fn sandbox(device: &Device) -> Result<Sandbox> {
    Ok(device.create_sandbox("compiled", MEMORY.into())?)
}

fn load(sandbox: &Sandbox, wasm: &[u8], native: Code<'_>) -> Result<Module, loader::device::Error> {
    sandbox.load(&ModuleSpec {
        name: "compiled",
        wasm,
        trap_limit: 0,
        fuel: 0,
        native,
    })
}

/// A translated tool is compiled; a module with memory of its own is interpreted, and why is said.
fn default() -> Result<()> {
    let wprobe = |args: &[&str]| {
        let mut command = Command::new(guest::wprobe()?);
        guest::succeed(command.env_remove("WPROBE_ENGINE").args(args))
    };
    let origin = |name: &str| {
        let info: serde_json::Value =
            serde_json::from_slice(&wprobe(&["info", name, "--json"])?.stdout)?;
        let word = |key: &str| info["origin"][key].as_str().map(str::to_owned);
        Ok::<_, anyhow::Error>((word("engine"), word("reason"), info["native_size"].as_u64()))
    };
    wprobe(&["load", "/usr/sbin/vfsstat"])?;
    let (engine, reason, size) = origin("vfsstat")?;
    wprobe(&["unload", "vfsstat"])?;
    ensure!(engine.as_deref() == Some("compiled"), "{engine:?}");
    ensure!(reason.is_none() && size > Some(0), "{reason:?}, {size:?}");
    let file = guest::scratch("compiled")?.join("getpgrp.wasm");
    fs::write(&file, corpus::module("getpgrp")?)?;
    wprobe(&["load", &file.to_string_lossy()])?;
    let (engine, reason, size) = origin("getpgrp")?;
    wprobe(&["unload", "getpgrp"])?;
    ensure!(engine.as_deref() == Some("interpreted") && size == Some(0));
    let reason = reason.context("a reason")?;
    ensure!(reason.contains("a memory of its own"), "{reason}");
    Ok(())
}

/// What the compiler makes is proven, in the kernel and in this process, whoever asks for it or brings it.
fn proven() -> Result<()> {
    let device = guest::device()?;
    let wasm = corpus::module("callbacks")?;
    let image = compile(wasm, MEMORY)?;
    let args = ["load", "/usr/sbin/vfsstat", "--engine", "jit"];
    let (success, error) = as_nobody(",+bpf,+perfmon", &args)?;
    ensure!(success, "refused: {error}");
    guest::succeed(Command::new(guest::wprobe()?).args(["unload", "vfsstat"]))?;
    let engine = with_rights(TRACING, || {
        let module = load(&sandbox(&device)?, wasm, Code::Image(&image))?;
        Ok(module.info()?.engine)
    })?;
    ensure!(engine == Engine::Proven as u32, "{engine}");
    let module = load(&sandbox(&device)?, wasm, Code::Image(&image))?;
    let engine = module.info()?.engine;
    ensure!(engine == Engine::Trusted as u32, "{engine} with all rights");
    Ok(())
}

/// The same with one bit of its text changed, wherever: refused, unless it is proven in its turn.
fn unproven() -> Result<()> {
    const MUTANTS: usize = 240;
    /// A sandbox takes so many loads.
    const LOADS: usize = 60;
    let device = guest::device()?;
    let wasm = corpus::module("callbacks")?;
    let image = compile(wasm, MEMORY)?;
    let size = Image::read(&image)
        .map_err(|e| anyhow::anyhow!("{e}"))?
        .text
        .len();
    let begin = image.len() - size;
    let mutant = |number: usize| {
        let mut image = image.clone();
        image[begin + number * size / MUTANTS] ^= 1 << (number % 8);
        let checksum = Sha256::digest(&image[HEADER..]);
        image[CHECKSUM].copy_from_slice(&checksum);
        image
    };
    let refused = with_rights(TRACING, || {
        let (mut home, mut refused) = (sandbox(&device)?, 0);
        for number in 0..MUTANTS {
            if number % LOADS == 0 {
                home = sandbox(&device)?;
            }
            match load(&home, wasm, Code::Image(&mutant(number))) {
                Ok(module) => ensure!(module.info()?.engine == Engine::Proven as u32),
                Err(error) => {
                    let said = error.to_string();
                    ensure!(error.errno() == Some(libc::EPERM), "{said}");
                    ensure!(said.contains("CAP_SYS_MODULE"), "{said}");
                    refused += 1;
                }
            }
        }
        Ok(refused)
    })?;
    println!("{refused} of {MUTANTS} refused, {size} bytes of text");
    ensure!(refused > MUTANTS / 2, "{refused} of {MUTANTS} were refused");
    Ok(())
}

/// A valid module of `bytes` of code, all of one program.
fn large(bytes: usize) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64], [ValType::I64]);
    let mut imports = ImportSection::new();
    imports.import("env", "memory", EntityType::Memory(PAGE));
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("kprobe:large:", ExportKind::Func, 0);
    let mut body = Function::new([(2, ValType::I64)]);
    let mut sink = body.instructions();
    // Each round is eleven bytes.
    for _ in 0..bytes / 11 {
        sink.local_get(0).i64_const(63).i64_add();
        sink.local_tee(1).local_get(2).i64_xor().local_set(0);
    }
    sink.local_get(0).end();
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = wasm_encoder::Module::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&exports).section(&code);
    module.finish()
}

/// With less memory than compiling takes, whatever the amount: that load is refused, and nothing else happens.
fn memory() -> Result<()> {
    const GROUP: &str = "/sys/fs/cgroup/wprobe-compiled";
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")?;
    fs::create_dir(GROUP)?;
    let own = std::process::id().to_string();
    let device = guest::device()?;
    let wasm = large(160 << 10);
    fs::write(format!("{GROUP}/cgroup.procs"), &own)?;
    let result = within(&device, &wasm, GROUP);
    fs::write("/sys/fs/cgroup/cgroup.procs", own)?;
    fs::remove_dir(GROUP)?;
    let (refused, loaded) = result?;
    println!("{refused} loads refused, {loaded} loaded");
    ensure!(refused > 2 && loaded > 0, "{refused} refused, {loaded} not");
    Ok(())
}

/// How many loads were refused, and how many not, by a memory cgroup that leaves more and more.
fn within(device: &Device, wasm: &[u8], group: &str) -> Result<(u32, u32)> {
    let limit = |text: &str| fs::write(format!("{group}/memory.max"), text);
    let charged = || {
        let text = fs::read_to_string(format!("{group}/memory.current"))?;
        Ok::<u64, anyhow::Error>(text.trim().parse()?)
    };
    let kept = || {
        device.flush()?;
        let about = device.about()?;
        Ok::<_, anyhow::Error>(about.allocations - about.frees)
    };
    let before = kept()?;
    let (mut refused, mut loaded) = (0, 0);
    for part in 1..=24u64 {
        let home = sandbox(device)?;
        limit(&(charged()? + part * part * (96 << 10)).to_string())?;
        let module = load(&home, wasm, Code::Compile);
        limit("max")?;
        match module {
            Ok(module) => {
                drop(module);
                loaded += 1;
            }
            Err(error) => {
                let said = error.to_string();
                let is_for_memory =
                    said.contains("too much memory") || error.errno() == Some(libc::ENOMEM);
                ensure!(is_for_memory, "{said}");
                refused += 1;
            }
        }
        // The next one is served.
        drop(home);
        let after = kept()?;
        ensure!(after == before, "{before} blocks before, {after} after");
    }
    Ok((refused, loaded))
}

/// `wprobe load` of a module that takes long to compile, killed on the way.
fn killed() -> Result<()> {
    let file = guest::scratch("compiled")?.join("large.wasm");
    fs::write(&file, large(2 << 20))?;
    let begin = || {
        let mut command = Command::new(guest::wprobe()?);
        let command = command.arg("load").arg(&file).args(["--engine", "jit"]);
        let start = Instant::now();
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok::<(Child, Instant), anyhow::Error>((child?, start))
    };
    let (mut whole, start) = begin()?;
    let _ = whole.wait()?;
    let whole = start.elapsed();
    let (mut child, _) = begin()?;
    thread::sleep(whole / 3);
    let kill = Instant::now();
    child.kill()?;
    let status = child.wait()?;
    let ended = kill.elapsed();
    println!("{whole:?} for all of it, {ended:?} to end when killed");
    if status.signal() != Some(libc::SIGKILL) {
        bail!("it had ended before: {status}");
    }
    ensure!(ended < whole / 3 + Duration::from_millis(50), "{ended:?}");
    Ok(())
}

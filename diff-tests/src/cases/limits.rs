//! Limits of one sandbox and of all: each is met exactly, said in words, and given back.

use std::fs;
use std::process::Command;

use abi::map_types::MapType;
use abi::uapi::{AttachPoint, Resource};
use anyhow::{Context, Result, bail, ensure};
use loader::attach::Choice;
use loader::device::{Device, MapSpec, Object, PerfRing};
use loader::load::{Engine, Options};
use loader::open::Input;
use serde_json::Value;

use super::Case;
use super::plain::{self, Plain};
use crate::wasm::Wasm;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("limits::every_resource_of_one_and_of_all", every_resource),
    ("limits::memory_of_modules_and_rings_counts", memory),
    ("limits::kernel_memory_counts", host),
    ("limits::links_and_sandboxes_have_limits", links),
    ("limits::memory_is_the_cgroups_of_who_asks", cgroup),
    ("limits::budget_and_size_of_a_module", module),
    ("limits::many_loads_leave_nothing", many_loads),
    ("limits::are_shown_and_set", command),
    ("limits::are_set_at_insmod", insmod),
];

/// A parameter that is put back.
pub(super) struct Parameter {
    path: String,
    before: String,
}

impl Parameter {
    pub(super) fn set(name: &str, value: u64) -> Result<Self> {
        let path = format!("/sys/module/wprobe/parameters/{name}");
        let before = fs::read_to_string(&path).with_context(|| path.clone())?;
        fs::write(&path, value.to_string()).with_context(|| path.clone())?;
        Ok(Parameter { path, before })
    }
}

impl Drop for Parameter {
    fn drop(&mut self) {
        fs::write(&self.path, &self.before).expect("what was there before");
    }
}

/// What the command prints as JSON.
fn wprobe(args: &[&str]) -> Result<Value> {
    let output = guest::succeed(Command::new(guest::wprobe()?).args(args).arg("--json"))?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What is used of a resource, when all that is gone is freed.
fn used(device: &Device, resource: Resource) -> Result<u64> {
    device.flush()?;
    Ok(device.limit(resource)?.used)
}

fn load(device: &Device) -> Result<Wasm> {
    Wasm::load(device, corpus::object("rings")?, "rings", &[])
}

/// As [`load`], on the engine that takes of `resource`.
fn load_with(device: &Device, resource: Resource) -> Result<Wasm> {
    let engine = (resource == Resource::Native).then_some(Engine::Jit);
    let options = Options {
        engine,
        ..Options::default()
    };
    let input = Input::from_bytes(corpus::object("rings")?, "rings", "rings".as_ref(), None)?;
    Wasm::open(device, input, &Choice::default(), &options)
}

/// Checks that something was refused, in words that `expected` are among.
fn refused<T>(result: Result<T>, expected: &str) -> Result<()> {
    match result {
        Ok(_) => bail!("not refused: {expected}"),
        Err(error) => {
            let error = format!("{error:#}");
            ensure!(error.contains(expected), "{error:?} has no {expected:?}");
            Ok(())
        }
    }
}

/// What a module that is loaded takes of.
const OF_A_MODULE: &[Resource] = &[
    Resource::Memory,
    Resource::Maps,
    Resource::Entries,
    Resource::Programs,
    Resource::Instances,
    Resource::Native,
];

/// With room for two but one piece a second module is refused, and is not when the first is gone.
fn every_resource() -> Result<()> {
    let device = guest::device()?;
    for &resource in OF_A_MODULE {
        let name = resource.name();
        ensure!(used(&device, resource)? == 0, "{name}: not 0 at first");
        let load = |device: &Device| load_with(device, resource);
        let first = load(&device)?;
        let one = used(&device, resource)?;
        ensure!(one > 0, "a module without {name}");
        let piece = match resource {
            Resource::Memory => 64 << 10,
            _ => 1,
        };
        let [total, most] = ["total", "max"].map(|scope| format!("{scope}_{name}"));
        let limit = Parameter::set(&total, 2 * one - piece)?;
        refused(load(&device), &format!("limit {total}: "))?;
        ensure!(used(&device, resource)? == one, "{name}: the refused one");
        drop(first);
        ensure!(used(&device, resource)? == 0, "{name}: not given back");
        drop(load(&device).context(total)?);
        drop(limit);
        let limit = Parameter::set(&most, one - piece)?;
        refused(load(&device), &format!("limit {most}: "))?;
        drop(limit);
        let limit = Parameter::set(&most, one)?;
        let [a, b] = [load(&device)?, load(&device)?];
        ensure!(used(&device, resource)? == 2 * one, "{name}: of two");
        drop((a, b, limit));
        println!("{name}: {one} of a module");
    }
    // What there may never be more of.
    let _limit = Parameter::set("max_maps", 1000)?;
    let sandbox = device.create_sandbox("maps", 1 << 20)?;
    let map = MapSpec {
        name: "array",
        map_type: 2,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        inner: None,
    };
    for _ in 0..256 {
        sandbox.create_map(&map)?;
    }
    let refusal = sandbox.create_map(&map).map_err(Into::into);
    refused(refusal, "limit max_maps: 1 asked for, 0 left of 256")
}

/// A hand-written module's memory and a ring are memory of their sandbox.
fn memory() -> Result<()> {
    const PAGE: u64 = 64 << 10;
    let device = guest::device()?;
    let used = || used(&device, Resource::Memory);
    let fork = || Wasm::load(&device, corpus::module("fork")?, "fork", &[]);
    let own = fork()?;
    let bytes = used()?;
    ensure!(
        bytes > 0 && bytes.is_multiple_of(PAGE),
        "{bytes} of its own"
    );
    let limit = Parameter::set("total_memory", 2 * bytes - 1)?;
    refused(
        fork(),
        "limit total_memory: 64 KiB asked for, 65535 bytes left of",
    )?;
    drop((own, limit));
    let wasm = load(&device)?;
    let before = used()?;
    let ring = PerfRing::open(wasm.map("samples")?, 0, 8)?;
    ensure!(used()? == before + 9 * 4096, "a ring of 8 pages and one");
    drop(ring);
    ensure!(used()? == before, "the ring is not given back");
    let _limit = Parameter::set("max_memory", before + 9 * 4096 - 1)?;
    let ring = PerfRing::open(wasm.map("samples")?, 0, 8);
    let expected = "limit max_memory: 36 KiB asked for, 36863 bytes left of";
    refused(ring.map_err(Into::into), expected)
}

/// Stores, maps' host side, what becomes of modules, and links: each is charged, refused in words, and given back.
fn host() -> Result<()> {
    let device = guest::device()?;
    let used = || used(&device, Resource::Host);
    ensure!(used()? == 0, "{} at first", used()?);
    let cpus = u64::from(device.about()?.cpus);
    let plain = Plain::new(&device)?;
    let stores = used()?;
    ensure!(stores > cpus * (128 << 10), "{stores} with {cpus} stores");
    let map = plain::create(&plain.sandbox, MapType::Hash, (8, 8, 10_000))?;
    let entries = used()? - stores;
    ensure!((240_000..480_000).contains(&entries), "{entries} of a hash");
    drop(map);
    let before = used()?;
    let function = format!(
        "(func (result i64) {} i64.const 0)",
        "i64.const 1 drop ".repeat(5000)
    );
    drop(plain::load(&plain.sandbox, &plain::of(&function))?);
    let module = used()? - before;
    ensure!(module > cpus * 5000, "{module} of a module");
    let before = used()?;
    let link = plain
        .module
        .attach(&plain::at("__x64_sys_getpgrp", AttachPoint::Kretprobe))?;
    let of_link = used()? - before;
    ensure!(of_link > 128 << 10, "{of_link} of a kretprobe");
    drop(link);
    ensure!(used()? == before, "a link's is not given back");
    println!("{stores} of stores, {entries} of entries, {module} of a module, {of_link} of a link");
    let limit = Parameter::set("max_host", before + 1000)?;
    let expected = "limit max_host: ";
    refused(
        plain::load(&plain.sandbox, &plain::of(&function)).map_err(Into::into),
        expected,
    )?;
    let map = plain::create(&plain.sandbox, MapType::Hash, (8, 8, 1000));
    refused(map.map_err(Into::into), expected)?;
    refused(
        plain.module.attach(&plain::kprobe()).map_err(Into::into),
        expected,
    )?;
    drop(limit);
    let _limit = Parameter::set("total_host", before)?;
    let sandbox = device.create_sandbox("one more", 1 << 20);
    refused(sandbox.map_err(Into::into), "limit total_host: ")?;
    drop(plain);
    ensure!(used()? == 0, "{} left", used()?);
    Ok(())
}

fn links() -> Result<()> {
    let device = guest::device()?;
    let plain = Plain::new(&device)?;
    let attach = || plain.module.attach(&plain::kprobe()).map_err(Into::into);
    let limit = Parameter::set("max_links", 2)?;
    let second = attach()?;
    refused(attach(), "limit max_links: 1 asked for, 0 left of 2")?;
    drop(second);
    drop(attach()?);
    drop(limit);
    let limit = Parameter::set("total_links", 1)?;
    refused(attach(), "limit total_links: 1 asked for, 0 left of 1")?;
    drop(limit);
    let _limit = Parameter::set("total_sandboxes", 3)?;
    let empty = || device.create_sandbox("empty", 0).map_err(Into::into);
    // Pinned ones count, and those that go while nobody waits for it.
    for _ in 0..20 {
        let pair = [empty()?, empty()?];
        pair[0].pin()?;
        refused(empty(), "limit total_sandboxes: 1 asked for, 0 left of 3")?;
        pair[0].unpin()?;
    }
    Ok(())
}

/// Memory of a sandbox, and of its maps, is its maker's.
fn cgroup() -> Result<()> {
    const GROUP: &str = "/sys/fs/cgroup/wprobe-limits";
    const SIZE: u64 = 32 << 20;
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")?;
    fs::create_dir(GROUP)?;
    let own = std::process::id().to_string();
    let device = guest::device()?;
    let charged = || {
        let text = fs::read_to_string(format!("{GROUP}/memory.current"))?;
        Ok::<u64, anyhow::Error>(text.trim().parse()?)
    };
    let within = || {
        let before = charged()?;
        let sandbox = device.create_sandbox("charged", SIZE)?;
        let memory = charged()?.saturating_sub(before);
        let map = plain::create(&sandbox, MapType::Hash, (8, 8, 200_000))?;
        let both = charged()?.saturating_sub(before);
        drop((map, sandbox));
        device.flush()?;
        // Beyond the group's limit it is an error, and nobody is killed.
        fs::write(
            format!("{GROUP}/memory.max"),
            (charged()? + SIZE / 2).to_string(),
        )?;
        let beyond = device.create_sandbox("beyond", SIZE).err();
        fs::write(format!("{GROUP}/memory.max"), "max")?;
        Ok::<_, anyhow::Error>((memory, both, beyond.and_then(|e| e.errno())))
    };
    fs::write(format!("{GROUP}/cgroup.procs"), &own)?;
    let result = within();
    fs::write("/sys/fs/cgroup/cgroup.procs", own)?;
    fs::remove_dir(GROUP)?;
    let (memory, both, beyond) = result?;
    println!("{memory} bytes for {SIZE} of memory, {both} with a map");
    ensure!(memory >= SIZE, "{memory} bytes were charged for {SIZE}");
    ensure!(both - memory > 200_000 * 20, "{memory}, with a map {both}");
    ensure!(beyond == Some(libc::ENOMEM), "{beyond:?} beyond the limit");
    Ok(())
}

/// What a module may ask for, and is given if it does not ask.
fn module() -> Result<()> {
    let file = guest::scratch("limits")?.join("fork.wasm");
    fs::write(&file, corpus::module("fork")?)?;
    let file = file.to_string_lossy();
    let fuel = |args: &[&str]| {
        wprobe(&[&["load", &file][..], args].concat())?;
        let fuel = wprobe(&["info", "fork"])?["fuel"].as_u64();
        wprobe(&["unload", "fork"])?;
        fuel.context("a budget")
    };
    let _limits = [
        Parameter::set("max_fuel", 5000)?,
        Parameter::set("default_fuel", 4000)?,
    ];
    ensure!(fuel(&[])? == 4000 && fuel(&["--fuel", "5000"])? == 5000);
    let expected = "limit max_fuel: 5001 asked for, 5000 is the most";
    refused(fuel(&["--fuel", "5001"]), expected)?;
    let size = corpus::module("fork")?.len() as u64;
    let _limit = Parameter::set("max_module", size - 1)?;
    let expected = format!(
        "limit max_module: {size} asked for, {} is the most",
        size - 1
    );
    refused(fuel(&[]), &expected)
}

/// Modules that load, and ones that fail at every step.
fn many_loads() -> Result<()> {
    let device = guest::device()?;
    for round in 0..30 {
        let resource = OF_A_MODULE[round % OF_A_MODULE.len()];
        let good = load_with(&device, resource)?;
        let _ring = PerfRing::open(good.map("samples")?, 1, 4)?;
        let _own = Wasm::load(&device, corpus::module("fork")?, "fork", &[])?;
        let total = format!("total_{}", resource.name());
        let _limit = Parameter::set(&total, used(&device, resource)?)?;
        refused(load_with(&device, resource), &total)?;
    }
    for &resource in Resource::ALL {
        let left = used(&device, resource)?;
        ensure!(left == 0, "{left} of {} left", resource.name());
    }
    Ok(())
}

fn command() -> Result<()> {
    let device = guest::device()?;
    let _wasm = load(&device)?;
    let _limit = Parameter::set("max_programs", 76)?;
    let shown = wprobe(&["limits", "max_programs=77"])?;
    let programs = device.limit(Resource::Programs)?;
    ensure!(
        shown["max_programs"] == 77 && shown["used_programs"] == programs.used,
        "{shown}"
    );
    ensure!(
        shown["total_programs"] == programs.total && programs.used > 0,
        "{shown}"
    );
    let text = guest::succeed(Command::new(guest::wprobe()?).arg("limits"))?;
    let text = String::from_utf8(text.stdout)?;
    let row = text.lines().find(|line| line.starts_with("programs"));
    ensure!(row.is_some_and(|row| row.ends_with("77")), "{text}");
    for wrong in ["max_nothing=1", "max_fuel=much"] {
        let output = Command::new(guest::wprobe()?)
            .args(["limits", wrong])
            .output()?;
        ensure!(
            output.status.code() == Some(2),
            "{wrong}: {}",
            output.status
        );
    }
    Ok(())
}

fn insmod() -> Result<()> {
    guest::rmmod()?;
    guest::insmod_with(&["max_maps=1", "max_fuel=1234"])?;
    let device = guest::device()?;
    let seen = (device.limit(Resource::Maps)?.each, device.about()?.max_fuel);
    let refusal = refused(load(&device), "limit max_maps: 1 asked for, 0 left of 1");
    drop(device);
    guest::rmmod()?;
    guest::insmod()?;
    ensure!(seen == (1, 1234), "{seen:?}");
    refusal
}

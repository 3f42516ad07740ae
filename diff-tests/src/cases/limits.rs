//! Limits of one sandbox and of all: each is met exactly, said in words, and given back.

use std::fs;
use std::process::Command;

use abi::uapi::Resource;
use anyhow::{Context, Result, bail, ensure};
use loader::attach::Choice;
use loader::device::{Device, MapSpec, PerfRing};
use loader::load::{Engine, Options};
use loader::open::Input;
use serde_json::Value;

use super::Case;
use crate::wasm::Wasm;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("limits::every_resource_of_one_and_of_all", every_resource),
    ("limits::memory_of_modules_and_rings_counts", memory),
    ("limits::budget_and_size_of_a_module", module),
    ("limits::many_loads_leave_nothing", many_loads),
    ("limits::are_shown_and_set", command),
    ("limits::are_set_at_insmod", insmod),
];

/// A parameter that is put back.
struct Parameter {
    path: String,
    before: String,
}

impl Parameter {
    fn set(name: &str, value: u64) -> Result<Self> {
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

fn used(device: &Device, resource: Resource) -> Result<u64> {
    Ok(device.limit(resource)?.used)
}

fn load(device: &Device) -> Result<Wasm> {
    Wasm::load(device, corpus::object("rings")?, "rings", &[])
}

/// As [`load`], on the engine that takes of `resource`.
fn load_with(device: &Device, resource: Resource) -> Result<Wasm> {
    let engine = (resource == Resource::Native).then_some(Engine::Aot);
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

/// With room for two but one piece a second module is refused, and is not when the first is gone.
fn every_resource() -> Result<()> {
    let device = guest::device()?;
    for &resource in Resource::ALL {
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
        let resource = Resource::ALL[round % Resource::ALL.len()];
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

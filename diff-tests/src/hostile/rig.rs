//! A sandbox with one map of every type, in which a module is loaded, attached and fired.

use std::path::Path;
use std::time::{Duration, Instant};

use abi::imports::{ENV, MAP, MAP_APART, MAP_ENTRIES, MAP_VALUE, MEMORY, VALUE_MODULES};
use abi::layout::map_handle;
use abi::map_types::MapType;
use abi::uapi::AttachPoint;
use anyhow::Result;
use helpers::maps::Inner;
use loader::attach::{Choice, Plan};
use loader::constants::put_in;
use loader::device::{
    self, Code, Device, Link, LinkSpec, Map, MapSpec, Module, ModuleSpec, Program, Sandbox, text,
};
use loader::load::Engine;
use loader::open::Input;
use loader::resident::trap;
use wasmparser::{Import, Parser, Payload, TypeRef};

use crate::workload::syscalls;

/// Runs of each program.
pub const RUNS: u64 = 4;
/// Bytes of linear memory.
pub const SIZE: u64 = 1 << 20;
/// Bytes of `struct pt_regs`.
const CONTEXT: u32 = 168;
/// Modules a sandbox takes (`MAX_LOADS` of the kernel module).
const LOADS: u32 = 64;

/// Types that a sandbox can hold, with sizes of key and value, entries and flags. The map is named as the type.
pub const MAPS: &[(MapType, u32, u32, u32, u32)] = &[
    (MapType::Hash, 8, 16, 8, 0),
    (MapType::Array, 4, 16, 8, 0),
    (MapType::PercpuHash, 8, 16, 8, 0),
    (MapType::PercpuArray, 4, 16, 8, 0),
    (MapType::LruHash, 8, 16, 8, 0),
    (MapType::LruPercpuHash, 8, 16, 8, 0),
    // BPF_F_NO_PREALLOC, without which there is none.
    (MapType::LpmTrie, 8, 16, 8, 1),
    (MapType::Queue, 0, 16, 8, 0),
    (MapType::Stack, 0, 16, 8, 0),
    (MapType::BloomFilter, 0, 16, 8, 0),
    (MapType::Ringbuf, 0, 0, 4096, 0),
    (MapType::PerfEventArray, 4, 4, 2, 0),
    (MapType::StackTrace, 4, 128, 8, 0),
    (MapType::CgroupArray, 4, 4, 8, 0),
    (MapType::ProgArray, 4, 4, 8, 0),
    (MapType::ArrayOfMaps, 4, 4, 8, 0),
    (MapType::HashOfMaps, 8, 4, 8, 0),
    // As the trie.
    (MapType::TaskStorage, 4, 16, 0, 1),
];

/// Prefixes in the trie of [`LARGE`].
const PREFIXES: u32 = 2048;
/// As [`MAPS`], those that take the longest.
pub const LARGE: &[(MapType, u32, u32, u32, u32)] = &[
    (MapType::LpmTrie, 4 + 256, 8, PREFIXES, 1),
    (MapType::StackTrace, 4, 8, 64, 0),
    (MapType::LruHash, 8, 16, 1024, 0),
];

/// What is in a map of maps.
const ARRAY: Inner = Inner {
    map_type: MapType::Array,
    key_size: 4,
    value_size: 16,
    max_entries: 8,
    flags: 0,
};

/// What became of a module.
#[derive(Debug)]
pub enum Fate {
    /// It was not loaded, or no program of it was attached.
    Refused(String),
    /// It ran. A trap among its runs is the last one.
    Ran {
        /// How often.
        runs: u64,
        /// How many of these ended early.
        traps: u64,
        /// Why the last one did.
        why: String,
    },
}

/// The place.
pub struct Rig<'a> {
    device: &'a Device,
    /// With memory and maps.
    sandbox: Sandbox,
    maps: Vec<Map>,
    /// For modules with a memory of their own.
    bare: Sandbox,
    loads: u32,
    /// What the shortest of the last module's runs took, of all its programs.
    pub took: Duration,
    /// The frame that they are fired from.
    pub frame: Option<u64>,
    /// Their budget; 0: the device's.
    pub fuel: u64,
}

impl<'a> Rig<'a> {
    /// A sandbox with maps.
    pub fn new(device: &'a Device) -> Result<Self> {
        Self::of(device, MAPS)
    }

    /// One with [`LARGE`] maps, the trie full of prefixes each of which is the next one's.
    pub fn large(device: &'a Device) -> Result<Self> {
        let rig = Self::of(device, LARGE)?;
        for bits in 1..=PREFIXES {
            let mut key = bits.to_ne_bytes().to_vec();
            key.resize(4 + 256, 0);
            rig.maps[0].update(&key, &[0; 8], 0)?;
        }
        Ok(rig)
    }

    fn of(device: &'a Device, maps: &[(MapType, u32, u32, u32, u32)]) -> Result<Self> {
        let sandbox = device.create_sandbox("hostile", SIZE)?;
        let create = |&(map_type, key_size, value_size, max_entries, flags): &_| {
            sandbox.create_map(&MapSpec {
                name: MapType::name(map_type),
                map_type: map_type as u32,
                key_size,
                value_size,
                max_entries,
                flags,
                inner: matches!(map_type, MapType::ArrayOfMaps | MapType::HashOfMaps)
                    .then_some(ARRAY),
            })
        };
        let maps = maps.iter().map(create).collect::<device::Result<_>>()?;
        Ok(Rig {
            device,
            sandbox,
            maps,
            bare: device.create_sandbox("hostile", 0)?,
            loads: 0,
            took: Duration::ZERO,
            frame: None,
            fuel: 0,
        })
    }

    /// Loads a module, attaches all its programs, fires them [`RUNS`] times. The sandbox stays, with what the
    /// module did to it, until it is used up.
    pub fn fire(&mut self, wasm: &[u8]) -> Result<Fate> {
        if self.loads == LOADS {
            *self = Rig::new(self.device)?;
        }
        self.loads += 1;
        let sandbox = match is_shared(wasm) {
            true => &self.sandbox,
            false => &self.bare,
        };
        let values = self.values(wasm);
        // What is no module, the device is to refuse.
        let with_values = match is_shared(wasm) && !values.is_empty() {
            true => put_in(wasm, &values).ok(),
            false => None,
        };
        let wasm = with_values.as_deref().unwrap_or(wasm);
        // What the compiler does not take is left to the interpreter, or to the device to refuse.
        let engine = Engine::preferred()?;
        let native = match engine {
            Engine::Auto | Engine::Jit => Code::CompileOrInterpret,
            Engine::Wasmi => Code::Interpreted,
        };
        let loaded = sandbox.load(&ModuleSpec {
            native,
            name: "hostile",
            wasm,
            trap_limit: 0,
            fuel: self.fuel,
        });
        let module = match loaded {
            Ok(module) => module,
            Err(error) => return Ok(Fate::Refused(error.to_string())),
        };
        let links = match attach(&module, wasm) {
            Ok(links) => links,
            Err(error) => return Ok(Fate::Refused(format!("{error:#}"))),
        };
        let run = |_| {
            let began = Instant::now();
            match self.frame {
                Some(frame) => syscalls::getpgrp_in_frame(frame),
                None => syscalls::getpgrp(1),
            }
            began.elapsed()
        };
        self.took = (0..RUNS).map(run).min().unwrap_or_default();
        drop(links);
        if module.info()?.reports != 0 {
            // Whatever it reports, the device answers.
            let _ = module.report();
        }
        fate(&module)
    }

    /// The values that it imports.
    fn values(&self, wasm: &[u8]) -> Vec<u64> {
        let value = |import: &Import<'_>| {
            let map = self.maps.iter().find(|map| map.name() == import.name);
            match (import.ty, import.module, map) {
                (TypeRef::Global(_), MAP, Some(map)) => map.handle,
                (TypeRef::Global(_), MAP_VALUE, Some(map)) => map.values,
                (TypeRef::Global(_), MAP_ENTRIES, Some(map)) => map.info().max_entries.into(),
                (TypeRef::Global(_), MAP_APART, Some(map)) => map.placed().apart,
                _ => 0,
            }
        };
        let imports = imports(wasm);
        let values = imports.filter(|i| VALUE_MODULES.contains(&i.module));
        values.map(|import| value(&import)).collect()
    }
}

/// A module with a map's handle for each value that it imports; as it is, if it takes none.
pub fn with_handles(wasm: Vec<u8>) -> Vec<u8> {
    let values = imports(&wasm).filter(|i| VALUE_MODULES.contains(&i.module));
    let handles: Vec<u64> = (0..).map(map_handle).take(values.count()).collect();
    match handles.is_empty() {
        true => wasm,
        false => put_in(&wasm, &handles).unwrap_or(wasm),
    }
}

/// Whether a module uses its sandbox's memory.
pub fn is_shared(wasm: &[u8]) -> bool {
    imports(wasm).any(|import| (import.module, import.name) == (ENV, MEMORY))
}

/// What a module imports, as far as it can be parsed.
fn imports(wasm: &[u8]) -> impl Iterator<Item = Import<'_>> {
    let sections = Parser::new(0).parse_all(wasm).map_while(Result::ok);
    let imports = sections.filter_map(|section| match section {
        Payload::ImportSection(imports) => Some(imports.into_imports().map_while(Result::ok)),
        _ => None,
    });
    imports.flatten()
}

/// Attaches every program.
fn attach(module: &Module, wasm: &[u8]) -> Result<Vec<Link>> {
    if module.info()?.exclusive != 0 {
        let input = Input::from_bytes(wasm, "hostile", Path::new("hostile"), None)?;
        return Ok(Plan::new(&input, &Choice::default())?.attach(module, &[])?);
    }
    let programs = module.programs()?;
    let links = programs
        .iter()
        .map(|program| module.attach(&kprobe(program)));
    Ok(links.collect::<device::Result<_>>()?)
}

fn kprobe(program: &Program) -> LinkSpec {
    let name = text(&program.name);
    let target = name.split(':').nth(1).unwrap_or_default();
    LinkSpec {
        context: CONTEXT,
        ..LinkSpec::new(&name, target, AttachPoint::Kprobe)
    }
}

fn fate(module: &Module) -> Result<Fate> {
    let programs = module.programs()?;
    if programs.is_empty() {
        return Ok(Fate::Refused("it has no program".to_owned()));
    }
    let sum = |count: fn(&Program) -> u64| programs.iter().map(count).sum();
    let last = programs.iter().find(|program| program.traps > 0);
    let why = last.map_or(String::new(), |p| trap(None, p.last_trap, p.last_site));
    let (runs, traps) = (sum(|p| p.runs), sum(|p| p.traps));
    Ok(Fate::Ran { runs, traps, why })
}

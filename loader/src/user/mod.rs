//! The user-space runtime: runs a translated program in this process, on one of several engines, with the
//! same maps and helpers as the kernel module.
//!
//! What it is for: trying a program out as `bpftool prog run` does, and holding the translation against
//! the kernel instruction by instruction. There is one CPU, number 0.
//!
//! [`load`] sets a module up, [`context`] makes what a program runs on, [`UserSandbox::run`] runs it.
//! `engine` is what a wasm engine must do; `wasmi`, `native` and, with the feature of that name, `wasmtime` do it; `host` is this process.

pub mod context;
mod engine;
mod host;
mod native;
mod wasmi;
#[cfg(feature = "wasmtime")]
mod wasmtime;

use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

use abi::layout;
use abi::traps::Trap;
use helpers::guest::GuestMemory;
use helpers::maps::{self, Key, MapSpec};
use helpers::space::{CreatedMap, Space};

use crate::answers::Source;
use crate::constants;
use crate::load::{self, absent, created, initial, made, shape, spec};
use crate::open::Input;
use crate::settings::Settings;
use crate::values::{self, Placed};

pub use engine::{EngineKind, Trapped};
use engine::{Instance, State};
pub use host::UserHost;
pub use native::compile;

/// CPUs this runtime pretends to have.
pub const CPUS: u32 = 1;

/// Bytes after the maps for a packet or other bulk input.
pub const PACKET_AREA: u32 = layout::WASM_PAGE;

/// Why a module could not be set up.
#[derive(Debug)]
pub enum Error {
    /// A map cannot be made: its name and the errno.
    Map(String, i32),
    /// The engine refused the module.
    Engine(String),
    /// The maps need more than linear memory can hold.
    TooLarge(u64),
    /// The module cannot be prepared: its maps, data or import values.
    Load(Box<load::Error>),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Map(name, errno) => {
                let reason = std::io::Error::from_raw_os_error(*errno);
                write!(f, "map {name}: {reason}")
            }
            Error::Engine(reason) => write!(f, "the engine refused the module: {reason}"),
            Error::TooLarge(bytes) => write!(f, "the maps need {bytes} bytes of linear memory"),
            Error::Load(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<load::Error> for Error {
    fn from(error: load::Error) -> Self {
        Error::Load(Box::new(error))
    }
}

/// Loads `input` on `engine`: its maps, its data, the values of its imports. `fuel` bounds each run, `btf`
/// is the target's (by default the running kernel's).
///
/// # Errors
///
/// Why it cannot be loaded.
pub fn load(
    input: &Input,
    engine: EngineKind,
    fuel: u64,
    btf: Option<&Path>,
) -> Result<UserSandbox, Error> {
    if let Some(why) = &input.refusal {
        return Err(load::Error::Refused(why.clone()).into());
    }
    let mut described = input.manifest.as_ref().map_or_else(Vec::new, created);
    if let Some(manifest) = &input.manifest {
        described = made(
            manifest,
            described,
            &Settings::default(),
            CPUS,
            &mut Vec::new(),
        )?;
    }
    let specs = described.iter().map(|(map, inner)| {
        let spec = spec(map, *inner, CPUS);
        Ok((map.name.clone(), shape(&spec, CPUS)?.0))
    });
    let specs: Vec<_> = specs.collect::<Result<_, load::Error>>()?;
    let (mut sandbox, maps) = UserSandbox::new(engine, fuel, &specs)?;
    let programs = input.manifest.as_ref().map_or(&[][..], |m| &m.programs);
    let exports = programs.iter().map(|p| p.export.clone()).collect();
    sandbox.state.name_programs(exports);
    for (map, (described, _)) in maps.iter().zip(&described) {
        if let Some(bytes) = initial(input, described)? {
            sandbox.set(map, 0, &bytes)?;
        }
        for element in &described.values {
            let map_number = || specs.iter().position(|(name, _)| *name == element.name);
            let program_number = || programs.iter().position(|p| p.name == element.name);
            let number = map_number().or_else(program_number);
            let Some(number) = number else {
                absent(input.manifest.as_ref(), described, element)?;
                continue;
            };
            let number = number as u32 + 1;
            sandbox.set(map, element.index, &number.to_ne_bytes())?;
        }
    }
    let placed = specs.iter().zip(&maps).map(|((name, spec), map)| Placed {
        name: name.clone(),
        handle: map.handle,
        values: map.values,
        entries: spec.max_entries,
        apart: maps::apart(spec.value_size, spec.max_entries),
    });
    let source = Source::find(input, btf, None).map_err(load::Error::Answers)?;
    let values = values::compute(input, &placed.collect::<Vec<_>>(), &source);
    let values = values.map_err(load::Error::Value)?;
    sandbox.load(&input.wasm, &values.globals)?;
    Ok(sandbox)
}

/// A sandbox in this process: memory and maps, before a module is put in.
///
/// Maps come first because a module's globals are their addresses.
pub struct UserSandbox {
    instance: Box<dyn Instance>,
    state: Arc<State>,
    packet: u32,
}

impl UserSandbox {
    /// A sandbox for `specs`, on `engine`, and the maps made in it, in order. `fuel` bounds each run.
    ///
    /// # Errors
    ///
    /// [`Error::Map`], [`Error::TooLarge`].
    pub fn new(
        engine: EngineKind,
        fuel: u64,
        specs: &[(String, MapSpec)],
    ) -> Result<(Self, Vec<CreatedMap>), Error> {
        let mut bytes = u64::from(layout::values_base(CPUS));
        for (name, spec) in specs {
            let area = maps::area_bytes(spec, CPUS).map_err(|e| Error::Map(name.clone(), e.0))?;
            bytes += area.next_multiple_of(64);
        }
        let packet = u32::try_from(bytes).map_err(|_| Error::TooLarge(bytes))?;
        let size = bytes + u64::from(PACKET_AREA);
        let pages = size.div_ceil(u64::from(layout::WASM_PAGE));
        let size = u32::try_from(pages * u64::from(layout::WASM_PAGE))
            .map_err(|_| Error::TooLarge(bytes))?;
        let (instance, base) = start(engine, pages as u32, fuel)?;
        // SAFETY: the engine keeps `size` bytes at `base`, page-aligned and never moved, as long as
        // the instance lives; it and the state are dropped together.
        let memory = unsafe { GuestMemory::new(base, size) };
        let state = Arc::new(State::new(Space::new(memory, CPUS)));
        let mut created = Vec::new();
        for (name, spec) in specs {
            let map = state
                .space
                .create_map(spec)
                .map_err(|e| Error::Map(name.clone(), e.0))?;
            created.push(map);
        }
        let sandbox = Self {
            instance,
            state,
            packet,
        };
        Ok((sandbox, created))
    }

    /// Puts `wasm` in, with the values that it imports.
    ///
    /// # Errors
    ///
    /// [`Error::Engine`].
    pub fn load(&mut self, wasm: &[u8], values: &[u64]) -> Result<(), Error> {
        let wasm = constants::put_in(wasm, values).map_err(|e| Error::Engine(e.to_string()))?;
        self.instance.load(&wasm, Arc::clone(&self.state))
    }

    /// Sets element `index` of a map just created.
    fn set(&self, map: &CreatedMap, index: u32, bytes: &[u8]) -> Result<(), Error> {
        let space = self.space();
        let key = Key::from_host(&index.to_ne_bytes());
        let update = |key: &Key| {
            let map = space.map(map.index).ok_or(helpers::host::Errno::ENOENT)?;
            space.update(map, 0, key, bytes, maps::ANY)
        };
        key.and_then(|key| update(&key))
            .map_err(|errno| Error::Map("data".into(), errno.0))
    }

    /// The maps and the memory.
    pub fn space(&self) -> &Space {
        &self.state.space
    }

    /// Offset of the packet area.
    pub fn packet_area(&self) -> u32 {
        self.packet
    }

    /// Copies `context` in, runs `export` on it; `r0`. What the program left is read with [`Self::context`].
    ///
    /// # Errors
    ///
    /// How the run ended early.
    ///
    /// # Panics
    ///
    /// If `context` is longer than [`layout::CONTEXT_SIZE`].
    pub fn run(&mut self, export: &str, context: &[u8]) -> Result<u64, Trapped> {
        self.bytes(layout::context_base(0), layout::CONTEXT_SIZE)
            .write(context);
        assert!(context.len() <= layout::CONTEXT_SIZE as usize);
        let context = layout::guest_ptr(layout::context_base(0));
        self.state.begin();
        self.instance.refuel()?;
        let mut result = self.instance.call(export, context);
        while result.is_err()
            && let Some(number) = self.state.next_program()
        {
            let export = self.state.program(number);
            let export = export.ok_or(Trapped::somewhere(Trap::BadCall))?;
            result = self.instance.call(export, context);
        }
        result
    }

    /// What the last run, which came to its end, has left of its budget.
    pub fn left(&self) -> u64 {
        self.instance.left()
    }

    /// The first `len` bytes of the context, as the last run left them.
    pub fn context(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.bytes(layout::context_base(0), layout::CONTEXT_SIZE)
            .read(&mut bytes);
        bytes
    }

    /// A range of guest memory that is known to be there.
    pub fn bytes(&self, offset: u32, len: u32) -> helpers::guest::GuestSlice<'_> {
        let slice = self.state.space.memory().at(offset, u64::from(len));
        slice.expect("inside guest memory")
    }
}

/// Where an engine keeps guest memory.
type Base = NonNull<u8>;

/// An instance without a module, and its memory of `pages` pages, which never moves.
fn start(kind: EngineKind, pages: u32, fuel: u64) -> Result<(Box<dyn Instance>, Base), Error> {
    match kind {
        EngineKind::Wasmi => wasmi::start(pages, fuel),
        EngineKind::Jit => native::start(pages, fuel),
        #[cfg(feature = "wasmtime")]
        EngineKind::Wasmtime => wasmtime::start(pages, fuel),
    }
}

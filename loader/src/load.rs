//! From an input to a module in a sandbox with its maps, in the order ARCHITECTURE.md gives.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::PathBuf;

use abi::layout::{WASM_PAGE, values_base};
use abi::manifest::{DATA_SECTION, DataKind, DataSection, Manifest, Map, MapInit};
use abi::map_types::MapType;
use helpers::host::Errno;
use helpers::maps;

use crate::answers::{self, Source};
use crate::cache::Cache;
use crate::constants;
use crate::device::{self, Device, MapSpec, Module, ModuleSpec, Sandbox};
use crate::native;
use crate::open::Input;
use crate::settings::{self, Settings};
use crate::values;

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Execution budget of one run; 0: the device's default.
    pub fuel: u64,
    /// Traps of one program after which it is disabled; 0: never.
    pub trap_limit: u32,
    /// Bytes of linear memory for maps that are created later, such as further inner maps.
    pub spare: u64,
    /// BTF of the target kernel, where it is not the running one's own.
    pub btf: Option<PathBuf>,
    /// What to use for it: a file of answers, or a directory of such; where neither is said and the kernel has no BTF, what the
    /// module carries or what is installed.
    pub values: Option<PathBuf>,
    /// Values of globals and sizes of maps.
    pub settings: Settings,
    /// What runs it; `None`: what `$WPROBE_ENGINE` says, as far as the module can run there.
    pub engine: Option<Engine>,
}

/// What runs a module in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// The interpreter. Takes modules from anybody who may use the device.
    Wasmi,
    /// Native code, compiled here; asks for CAP_SYS_MODULE.
    Aot,
}

impl Engine {
    /// What `$WPROBE_ENGINE` says, else wasmi.
    pub fn preferred() -> Self {
        match std::env::var("WPROBE_ENGINE").is_ok_and(|name| name == "aot") {
            true => Self::Aot,
            false => Self::Wasmi,
        }
    }
}

impl Options {
    /// Where the kernel's types are from, for `input`.
    ///
    /// # Errors
    ///
    /// That what was said does not fit.
    pub fn source(&self, input: &Input) -> Result<Source, answers::Error> {
        Source::find(input, self.btf.as_deref(), self.values.as_deref())
    }

    /// The engine for `input`. Only translated modules have native code.
    fn engine(&self, input: &Input) -> Engine {
        self.engine.unwrap_or(match input.manifest {
            Some(_) => Engine::preferred(),
            None => Engine::Wasmi,
        })
    }
}

/// A loaded module. Dropped, it is gone, unless it was pinned.
#[derive(Debug)]
pub struct Loaded {
    /// What it is in.
    pub sandbox: Sandbox,
    /// Maps and data sections, as in the manifest.
    pub maps: Vec<device::Map>,
    /// The module.
    pub module: Module,
    /// What a person may want to know, such as relocations without a value.
    pub notes: Vec<String>,
}

/// Why a module was not loaded. Nothing of it stays behind.
#[derive(Debug)]
pub enum Error {
    /// A map of a type, or with parameters, that the runtime does not have.
    Map(String, String),
    /// A data section whose initial bytes are missing.
    Data(String),
    /// A setting that does not fit.
    Setting(settings::Error),
    /// An import without a value.
    Value(values::Error),
    /// Values that were made elsewhere do not fit.
    Answers(answers::Error),
    /// A value that does not fit its import.
    Constant(constants::Error),
    /// It was not compiled.
    Native(native::Error),
    /// It was not translated: why.
    Refused(String),
    /// The device refused.
    Device(device::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Map(name, why) => write!(f, "map {name}: {why}"),
            Error::Data(name) => write!(f, "data section {name}: its initial bytes are missing"),
            Error::Setting(e) => e.fmt(f),
            Error::Value(e) => e.fmt(f),
            Error::Answers(e) => e.fmt(f),
            Error::Constant(e) => e.fmt(f),
            Error::Native(e) => e.fmt(f),
            Error::Refused(why) => why.fmt(f),
            Error::Device(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<device::Error> for Error {
    fn from(error: device::Error) -> Self {
        Error::Device(error)
    }
}

/// Loads `input`.
pub fn load(device: &Device, input: &Input, options: &Options) -> Result<Loaded, Error> {
    if let Some(why) = &input.refusal {
        return Err(Error::Refused(why.clone()));
    }
    let source = options.source(input).map_err(Error::Answers)?;
    let cpus = device.about()?.cpus;
    let settings = &options.settings;
    let btf = input.btf();
    let manifest = input.manifest.as_ref();
    settings
        .check(manifest.map_or(&[], |m| &m.maps), btf.as_ref())
        .map_err(Error::Setting)?;
    let mut notes = Vec::new();
    let mut described = manifest.map_or_else(Vec::new, created);
    if let Some(manifest) = manifest {
        described = made(manifest, described, settings, cpus, &mut notes)?;
    }
    let specs: Vec<_> = described
        .iter()
        .map(|(map, inner)| set(spec(map, *inner, cpus), settings))
        .collect();
    let memory = match input.manifest.is_some() {
        true => memory(&specs, options.spare, cpus)?,
        false => 0,
    };
    let sandbox = device.create_sandbox(&input.name, memory)?;
    let mut maps = Vec::new();
    for (spec, (described, _)) in specs.iter().zip(&described) {
        let map = sandbox.create_map(spec)?;
        if described.data.is_some() {
            let bytes = initial(input, described)?;
            let mut bytes = bytes.unwrap_or_else(|| vec![0; described.value_size as usize]);
            settings
                .apply(described, btf.as_ref(), &mut bytes)
                .map_err(Error::Setting)?;
            map.update(&0u32.to_ne_bytes(), &bytes, 0)?;
        }
        maps.push(map);
    }
    let placed: Vec<_> = maps.iter().map(device::Map::placed).collect();
    let values = values::compute(input, &placed, &source).map_err(Error::Value)?;
    notes.extend(values.notes);
    // What imports of a hand-written module mean is for the device to say.
    let wasm = match input.manifest {
        Some(_) => constants::put_in(&input.wasm, &values.globals).map(Cow::Owned),
        None => Ok(Cow::Borrowed(&input.wasm[..])),
    };
    let wasm = wasm.map_err(Error::Constant)?;
    let native = match options.engine(input) {
        Engine::Wasmi => Vec::new(),
        Engine::Aot => native(&wasm, memory, &mut notes)?,
    };
    let module = sandbox.load(&ModuleSpec {
        name: &input.name,
        wasm: &wasm,
        trap_limit: options.trap_limit,
        fuel: options.fuel,
        native: &native,
    })?;
    fill(input, &maps, &described, &module, &mut notes)?;
    Ok(Loaded {
        sandbox,
        maps,
        module,
        notes,
    })
}

/// Puts into maps of maps and of programs what the object says.
fn fill(
    input: &Input,
    maps: &[device::Map],
    described: &[(&Map, Option<&Map>)],
    module: &Module,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    for (map, (described, _)) in maps.iter().zip(described) {
        for element in &described.values {
            let Some(number) = number(input, maps, module, &element.name)? else {
                notes.push(absent(input.manifest.as_ref(), described, element)?);
                continue;
            };
            map.update(&element.index.to_ne_bytes(), &number.to_ne_bytes(), 0)?;
        }
    }
    Ok(())
}

/// The native code of `wasm`, from the cache where there is one.
fn native(wasm: &[u8], memory: u64, notes: &mut Vec<String>) -> Result<Vec<u8>, Error> {
    let large = || Error::Native(native::Error::TooLarge(format!("{memory} bytes of memory")));
    let memory = u32::try_from(memory).map_err(|_| large())?;
    let image = match Cache::open() {
        Ok(cache) => native::cache::image(&cache, wasm, memory),
        Err(why) => {
            notes.push(format!("native code is not kept: {why}"));
            native::compile(wasm, memory)
        }
    };
    image.map_err(Error::Native)
}

/// The number of the map or program `name`, which a map refers to.
fn number(
    input: &Input,
    maps: &[device::Map],
    module: &Module,
    name: &str,
) -> Result<Option<u32>, Error> {
    if let Some(map) = maps.iter().find(|m| m.name() == name) {
        return Ok(Some(map.number()));
    }
    let programs = input.manifest.as_ref().map_or(&[][..], |m| &m.programs);
    let Some(described) = programs.iter().find(|p| p.name == name) else {
        return Ok(None);
    };
    let programs = module.programs()?;
    let program = programs
        .iter()
        .find(|p| device::text(&p.name) == described.export);
    Ok(program.map(|p| p.number))
}

/// What to say of an element of `described` that is not there, because its program was not translated or its map not made. One
/// that the object does not have is an error.
pub(crate) fn absent(
    manifest: Option<&Manifest>,
    described: &Map,
    element: &MapInit,
) -> Result<String, Error> {
    let has = manifest.is_some_and(|m| {
        let programs = m.refused.iter().map(|refused| &refused.name);
        let mut names = programs.chain(m.maps.iter().map(|map| &map.name));
        names.any(|name| *name == element.name)
    });
    match has {
        true => Ok(format!(
            "map {}: element {} is empty: {} is not there",
            described.name, element.index, element.name
        )),
        false => Err(no_such(described, element)),
    }
}

/// Why `element` cannot be put into `described`.
fn no_such(described: &Map, element: &MapInit) -> Error {
    let why = format!("element {}: there is no {}", element.index, element.name);
    Error::Map(described.name.clone(), why)
}

/// The maps to create: all but those that only describe the inner maps of another, each with such a description.
pub(crate) fn created(manifest: &Manifest) -> Vec<(&Map, Option<&Map>)> {
    let is_description = |i| manifest.maps.iter().any(|m| m.inner == Some(i));
    let maps = (0..)
        .zip(&manifest.maps)
        .filter(|(i, _)| !is_description(*i));
    let inner = |map: &Map| manifest.maps.get(map.inner? as usize);
    maps.map(|(_, map)| (map, inner(map))).collect()
}

/// Those of `described` that are made: all but maps of types that this runtime does not have, and but those that cannot be made
/// and that no program uses which is loaded by default. Why others are not made is noted.
pub(crate) fn made<'m>(
    manifest: &Manifest,
    described: Vec<(&'m Map, Option<&'m Map>)>,
    settings: &Settings,
    cpus: u32,
    notes: &mut Vec<String>,
) -> Result<Vec<(&'m Map, Option<&'m Map>)>, Error> {
    let mut made = Vec::new();
    for (map, inner) in described {
        let types = [Some(map), inner].map(|map| map.map(|map| map.map_type));
        let lacks = |ty: u32| MapType::from_id(ty).is_none_or(|ty| !ty.is_provided());
        let is_lacking = types.into_iter().flatten().any(lacks);
        match shape(&set(spec(map, inner, cpus), settings), cpus) {
            Ok(_) if !is_lacking => made.push((map, inner)),
            Err(why) if is_lacking || !is_needed(manifest, map) => {
                notes.push(format!("not made: {why}; what uses it is not attached"));
            }
            Ok(_) => notes.push(format!(
                "not made: map {}: this runtime has no such maps inside; what uses it is not attached",
                map.name
            )),
            Err(why) => return Err(why),
        }
    }
    Ok(made)
}

/// Whether `map` is a data section, or a program uses it that is loaded by default, or another map does.
fn is_needed(manifest: &Manifest, map: &Map) -> bool {
    let uses = |index: &u32| manifest.maps.get(*index as usize) == Some(map);
    let mut programs = manifest.programs.iter().filter(|p| p.autoload);
    let named = |other: &Map| other.values.iter().any(|value| value.name == map.name);
    map.data.is_some()
        || programs.any(|program| program.maps.iter().any(uses))
        || manifest.maps.iter().any(named)
}

/// `spec` with the size that a person chose.
fn set<'m>(mut spec: MapSpec<'m>, settings: &Settings) -> MapSpec<'m> {
    let entries = settings.entries(spec.name).unwrap_or(spec.max_entries);
    spec.max_entries = rounded(spec.map_type, entries);
    spec
}

/// Entries of a hash whose size the object leaves to its tool.
const ENTRIES: u32 = 10_240;
/// The same of a stack trace map, and the frames of a stack.
const STACKS: u32 = 1024;
const FRAMES: u32 = 127;

/// Bytes of a value and entries of `map`. What an object leaves open is as libbpf has it (a perf event array: one entry a
/// CPU), or as the tools of libbpf-tools set it by default.
pub(crate) fn sizes(map: &Map, cpus: u32) -> (u32, u32) {
    let or = |size, default| if size == 0 { default } else { size };
    let (value, entries) = (map.value_size, map.max_entries);
    match MapType::from_id(map.map_type) {
        Some(MapType::PerfEventArray) => (value, or(entries, cpus)),
        Some(MapType::StackTrace) => (or(value, FRAMES * 8), or(entries, STACKS)),
        Some(MapType::Hash) => (value, or(entries, ENTRIES)),
        _ => (value, rounded(map.map_type, entries)),
    }
}

/// Entries of a map of `map_type` that is to have `entries` at least. Rings' are bytes, a power of two of pages: more, where
/// that is not such a number, as libbpf makes them.
fn rounded(map_type: u32, entries: u32) -> u32 {
    let is_ring = matches!(
        MapType::from_id(map_type),
        Some(MapType::Ringbuf | MapType::UserRingbuf)
    );
    match is_ring && entries != 0 {
        // What is too large for that the device refuses.
        true => entries
            .div_ceil(maps::PAGE)
            .next_power_of_two()
            .checked_mul(maps::PAGE)
            .unwrap_or(entries),
        false => entries,
    }
}

/// How to create `map`, whose maps `inner` describes.
pub(crate) fn spec<'m>(map: &'m Map, inner: Option<&Map>, cpus: u32) -> MapSpec<'m> {
    let (value_size, max_entries) = sizes(map, cpus);
    MapSpec {
        name: &map.name,
        map_type: map.map_type,
        key_size: map.key_size,
        value_size,
        max_entries,
        flags: map.flags,
        inner: inner.and_then(|inner| {
            Some(maps::Inner {
                map_type: MapType::from_id(inner.map_type)?,
                key_size: inner.key_size,
                value_size: inner.value_size,
                max_entries: rounded(inner.map_type, inner.max_entries),
                flags: inner.flags,
            })
        }),
    }
}

/// Bytes of linear memory the maps and the per-CPU areas need.
fn memory(specs: &[MapSpec<'_>], spare: u64, cpus: u32) -> Result<u64, Error> {
    let mut bytes = u64::from(values_base(cpus)) + spare;
    for spec in specs {
        let (_, area) = shape(spec, cpus)?;
        bytes += area.next_multiple_of(64);
    }
    Ok(bytes.next_multiple_of(u64::from(WASM_PAGE)))
}

/// `spec` as the maps' own code has it, and the bytes of linear memory such a map takes.
pub(crate) fn shape(spec: &MapSpec<'_>, cpus: u32) -> Result<(maps::MapSpec, u64), Error> {
    let refuse = |why: String| Error::Map(spec.name.to_owned(), why);
    let map_type = MapType::from_id(spec.map_type)
        .ok_or_else(|| refuse(format!("unknown type {}", spec.map_type)))?;
    let shape = maps::MapSpec {
        map_type,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags: spec.flags,
        inner: spec.inner,
    };
    let area = maps::area_bytes(&shape, cpus).map_err(|errno| {
        refuse(format!(
            "{} with key {}, value {}, {} entries, flags {:#x}: {}",
            map_type.name(),
            spec.key_size,
            spec.value_size,
            spec.max_entries,
            spec.flags,
            in_words(map_type, errno)
        ))
    })?;
    Ok((shape, area))
}

/// Why a map cannot be made.
fn in_words(map_type: MapType, errno: Errno) -> String {
    match map_type.is_provided() {
        true => io::Error::from_raw_os_error(errno.0).to_string(),
        false => "this runtime has no such maps".to_owned(),
    }
}

/// The bytes a data section begins with; `None` for zeros, and for maps proper.
pub(crate) fn initial(input: &Input, map: &Map) -> Result<Option<Vec<u8>>, Error> {
    let size = map.value_size as usize;
    match &map.data {
        Some(data) if data.kind == DataKind::Kconfig => values::kconfig_section(input, data, size)
            .map(Some)
            .map_err(Error::Value),
        Some(DataSection {
            init: Some(from), ..
        }) => {
            let all = bpf2wasm::custom_section(&input.wasm, DATA_SECTION).unwrap_or_default();
            let from = *from as usize;
            let bytes = all.get(from..from.saturating_add(size));
            bytes
                .map(|b| Some(b.to_vec()))
                .ok_or_else(|| Error::Data(map.name.clone()))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(map_type: u32, max_entries: u32) -> MapSpec<'static> {
        MapSpec {
            name: "m",
            map_type,
            key_size: 4,
            value_size: 8,
            max_entries,
            flags: 0,
            inner: None,
        }
    }

    #[test]
    fn memory_holds_the_cpu_areas_and_the_maps() {
        let array = map(MapType::Array as u32, 10_000);
        let bytes = memory(&[array], 0, 2).unwrap();
        assert!(bytes >= u64::from(values_base(2)) + 80_000 && bytes.is_multiple_of(65536));
        assert!(memory(&[array], 1 << 20, 2).unwrap() >= bytes + (1 << 20) - 65536);
    }

    #[test]
    fn rings_are_as_large_as_libbpf_makes_them() {
        for (asked, bytes) in [
            (0, 0),
            (1, 4096),
            (4096, 4096),
            (5000, 8192),
            (3 * 4096, 16384),
            (1 << 31, 1 << 31),
            (u32::MAX, u32::MAX),
        ] {
            for ring in [MapType::Ringbuf, MapType::UserRingbuf] {
                assert_eq!(rounded(ring as u32, asked), bytes);
            }
            assert_eq!(rounded(MapType::Array as u32, asked), asked);
        }
    }

    #[test]
    fn maps_the_runtime_does_not_have_are_named() {
        let refusal = memory(&[map(99, 1)], 0, 2).unwrap_err().to_string();
        assert_eq!(refusal, "map m: unknown type 99");
        let refusal = memory(&[map(MapType::Array as u32, 0)], 0, 2)
            .unwrap_err()
            .to_string();
        assert!(refusal.starts_with("map m: array with key 4"), "{refusal}");
    }
}

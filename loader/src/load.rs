//! From an input to a module in a sandbox with its maps, in the order ARCHITECTURE.md gives. [`shapes`] says which maps, and how
//! large they are.

mod shapes;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use abi::manifest::{DATA_SECTION, DataKind, DataSection, Manifest, Map, MapInit};

use crate::answers::{self, Source};
use crate::constants;
use crate::device::{self, Code, Device, Module, ModuleSpec, Sandbox};
use crate::open::Input;
use crate::settings::{self, Settings};
use crate::values;
pub(crate) use shapes::{created, made, shape, sizes, spec};
use shapes::{memory, set};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// Native code, compiled and proven safe in the kernel, where that takes the module, else the interpreter.
    #[default]
    Auto,
    /// Native code, compiled and proven safe in the kernel.
    Jit,
    /// The interpreter.
    Wasmi,
}

/// The environment variable that says which engine is preferred.
const PREFERRED: &str = "WPROBE_ENGINE";

impl Engine {
    /// What `$WPROBE_ENGINE` says, else [`Engine::Auto`].
    ///
    /// # Errors
    ///
    /// That it names none.
    pub fn preferred() -> Result<Self, Error> {
        match std::env::var_os(PREFERRED) {
            None => Ok(Self::Auto),
            Some(name) => {
                let name = name.to_string_lossy();
                let engine = <Self as clap::ValueEnum>::from_str(&name, false);
                engine.map_err(|_| Error::NoEngine(name.into_owned()))
            }
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

    /// The engine for `input`. What is preferred is for translated modules: others may have to be interpreted.
    fn engine(&self, input: &Input) -> Result<Engine, Error> {
        if let Some(asked) = self.engine {
            return Ok(asked);
        }
        match (Engine::preferred()?, &input.manifest) {
            (Engine::Jit, None) => Ok(Engine::Auto),
            (preferred, _) => Ok(preferred),
        }
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
    /// It was not translated: why.
    Refused(String),
    /// `$WPROBE_ENGINE` names no engine.
    NoEngine(String),
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
            Error::Refused(why) => why.fmt(f),
            Error::NoEngine(name) => {
                write!(f, "{PREFERRED} is {name:?}, which is none of the engines:")?;
                let engines = <Engine as clap::ValueEnum>::value_variants();
                let names = engines
                    .iter()
                    .filter_map(clap::ValueEnum::to_possible_value);
                names
                    .into_iter()
                    .try_for_each(|name| write!(f, " {}", name.get_name()))
            }
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
    let native = match options.engine(input)? {
        Engine::Auto => Code::CompileOrInterpret,
        Engine::Wasmi => Code::Interpreted,
        Engine::Jit => Code::Compile,
    };
    let module = sandbox.load(&ModuleSpec {
        name: &input.name,
        wasm: &wasm,
        trap_limit: options.trap_limit,
        fuel: options.fuel,
        native,
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

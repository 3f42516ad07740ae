//! An object under any runtime in a few lines, as libbpf-rs does it under one: open, set, start, then read events and maps.
//!
//! ```no_run
//! use std::time::Duration;
//! use loader::probe::Probe;
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut probe = Probe::open("opensnoop")?.set("targ_failed", "true").start()?;
//! loop {
//!     for event in probe.wait(Duration::from_secs(1))? {
//!         println!("{:?} {:?}", event.record.text("comm"), event.record.text("fname"));
//!     }
//! }
//! # }
//! ```
//!
//! [`Probe`] is what is not yet running; [`Running`] is what is, until it is dropped. What a tool's own `main()` would have
//! decided is decided by its [`Profile`], and a person's word goes before that.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use abi::manifest::{DataKind, Map};
use abi::map_types::MapType;
use anyhow::{Context, Result, bail};
use bpf2wasm::btf::Btf;

use crate::device::Device;
use crate::event_types::{self, Stream, Word};
use crate::layout::Layout;
use crate::open::Input;
use crate::profile::Profile;
use crate::record::{Field, Record};
use crate::resident::Resident;
use crate::runtime::{self, Runtime, Started, Wish};
use crate::session::wasm::Wasm;
use crate::session::{Elements, Session};
use crate::table::{Reader, has_elements, is_array, is_per_cpu};
use crate::wait;

pub use crate::table::Table;

/// Where tools are that are called by their names alone.
const TOOLS: [&str; 3] = ["/usr/sbin", "/usr/bin", "/usr/share/bcc/tools"];

/// An object that can be started.
#[derive(Clone, Debug)]
pub struct Probe {
    /// It, translated.
    pub input: Input,
    /// What its tool would decide.
    pub profile: Profile,
    /// How it is to run.
    pub wish: Wish,
    /// Types of events, by a person's word.
    pub layout: Option<Layout>,
    /// The type of events, by its name in the object's BTF.
    pub event: Option<String>,
}

impl Probe {
    /// Opens a wasm module, a BPF object, an executable that embeds one, or the tool of this name.
    pub fn open(what: impl AsRef<Path>) -> Result<Self> {
        Ok(Probe::new(Input::open(&find(what.as_ref())?, None)?))
    }

    /// Of an input at hand.
    pub fn new(input: Input) -> Self {
        let profile = Profile::of(&input);
        Probe {
            input,
            profile,
            wish: Wish::default(),
            layout: None,
            event: None,
        }
    }

    /// Sets a global variable.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        let pair = (name.to_owned(), value.to_owned());
        self.wish.options.settings.globals.push(pair);
        self
    }

    /// Sets how many elements a map has room for.
    #[must_use]
    pub fn entries(mut self, map: &str, entries: u32) -> Self {
        let pair = (map.to_owned(), entries);
        self.wish.options.settings.entries.push(pair);
        self
    }

    /// Attaches this program, and no other that is not named.
    #[must_use]
    pub fn program(mut self, name: &str) -> Self {
        self.wish.choice.programs.push(name.to_owned());
        self
    }

    /// Attaches a program as if its section were another.
    #[must_use]
    pub fn at(mut self, program: &str, section: &str) -> Self {
        let pair = (program.to_owned(), section.to_owned());
        self.wish.choice.sections.push(pair);
        self
    }

    /// Chooses the runtime.
    #[must_use]
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.wish.runtime = runtime;
        self
    }

    /// Loads and attaches it.
    pub fn start(mut self) -> Result<Running> {
        let wish = &mut self.wish;
        self.profile.consider(&wish.options.settings);
        wish.choice = std::mem::take(&mut wish.choice).by_name(&self.input);
        self.profile.complete(&mut wish.choice)?;
        self.profile.preset(&mut wish.options.settings);
        let manifest = self.input.manifest.as_ref();
        let maps = manifest.map_or_else(Vec::new, |manifest| manifest.maps.clone());
        let btf = self.input.btf();
        wish.options.settings.check(&maps, btf.as_ref())?;
        let streams = self.streams()?;
        let names: Vec<_> = streams.iter().map(|stream| stream.map.clone()).collect();
        let started = runtime::start(&self.input, &self.wish, &names)?;
        Ok(Running {
            started,
            name: self.input.name.clone(),
            profile: self.profile,
            streams,
            maps,
            btf,
        })
    }

    /// What sends events.
    fn streams(&self) -> Result<Vec<Stream>> {
        let word = Word {
            event: self.event.as_deref(),
            layout: self.layout.as_ref(),
        };
        event_types::streams(&self.input, &self.profile, word)
    }
}

/// What a program sent.
#[derive(Clone, Debug)]
pub struct Event {
    /// Through which map.
    pub map: String,
    /// On which CPU; 0 if all share a ring.
    pub cpu: u32,
    /// When it was read.
    pub time: SystemTime,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they mean; the bytes alone where their type is not known.
    pub record: Record,
}

/// An object that runs, until this is dropped.
pub struct Running {
    started: Started,
    /// What it is called.
    pub name: String,
    /// How its data is shown.
    pub profile: Profile,
    /// What sends events.
    pub streams: Vec<Stream>,
    maps: Vec<Map>,
    btf: Option<Btf>,
}

impl Running {
    /// A module that is in the device already: it stays when this is dropped.
    pub fn resident(device: &Device, resident: &Resident<'_>) -> Result<Self> {
        let probe = Probe::new(resident.input()?);
        let manifest = probe.input.manifest.as_ref();
        Ok(Running {
            started: Started {
                session: Box::new(Wasm::resident(device, resident, probe.input.clone())?),
                runtime: Runtime::KernelWasm,
                why: "loaded already".to_owned(),
            },
            name: resident.name(),
            streams: probe.streams()?,
            maps: manifest.map_or_else(Vec::new, |manifest| manifest.maps.clone()),
            btf: probe.input.btf(),
            profile: probe.profile,
        })
    }

    /// Opens the rings of a module that was in the device already; of what was started here, they are open.
    pub fn listen(&mut self) -> Result<()> {
        let mut streams = self.streams.iter();
        streams.try_for_each(|stream| self.started.session.listen(&stream.map))
    }

    /// On what it runs.
    pub fn runtime(&self) -> Runtime {
        self.started.runtime
    }

    /// Why there.
    pub fn why(&self) -> &str {
        &self.started.why
    }

    /// Its maps as bytes, its counts, and the end of it.
    pub fn session(&mut self) -> &mut dyn Session {
        self.started.session.as_mut()
    }

    /// What was sent since the last call, without waiting; and how much was lost.
    pub fn events(&mut self) -> Result<(Vec<Event>, u64)> {
        let (mut events, mut lost) = (Vec::new(), 0);
        for stream in &self.streams {
            let sent = self.started.session.sent(&stream.map)?;
            lost += sent.lost;
            for (cpu, bytes) in sent.events {
                let ty = stream.ty.as_ref();
                let mut record = match ty {
                    Some((btf, id)) => {
                        let mut record = Record::read(Some(btf), *id, &bytes);
                        record.add_rest(stream.rest(&bytes));
                        record
                    }
                    None => Record::read(None, 0, &bytes),
                };
                let means = self.profile.means.get(&stream.map);
                for (field, meaning) in means.into_iter().flatten() {
                    record.mean(field, *meaning);
                }
                events.push(Event {
                    map: stream.map.clone(),
                    cpu,
                    time: SystemTime::now(),
                    bytes,
                    record,
                });
            }
        }
        Ok((events, lost))
    }

    /// As [`Running::events`], but waits for some; at most so long.
    pub fn wait(&mut self, time: Duration) -> Result<Vec<Event>> {
        let end = Instant::now() + time;
        loop {
            let (events, _) = self.events()?;
            let left = end.saturating_duration_since(Instant::now());
            if !events.is_empty() || left.is_zero() {
                return Ok(events);
            }
            self.ready(None, Some(left))?;
        }
    }

    /// Waits until something was sent or `other` has something to read, at most `time`, or without an end; whether
    /// `other` has.
    pub fn ready(&self, other: Option<BorrowedFd<'_>>, time: Option<Duration>) -> Result<bool> {
        let mut sources = self.started.session.sources();
        sources.extend(other);
        let readable = wait::readable(&sources, time).context("waiting for events")?;
        Ok(other.is_some() && readable.last() == Some(&true))
    }

    /// The elements of map `name`.
    pub fn table(&self, name: &str) -> Result<Table> {
        let map = self.map(name)?;
        self.read(map, &self.started.session.elements(&map.name)?)
    }

    /// `elements` of map `name`.
    pub fn table_of(&self, name: &str, elements: &Elements) -> Result<Table> {
        self.read(self.map(name)?, elements)
    }

    fn map(&self, name: &str) -> Result<&Map> {
        let map = self.maps.iter().find(|map| map.name == name);
        map.with_context(|| {
            let known: Vec<_> = self.maps.iter().map(|map| map.name.as_str()).collect();
            format!("no map {name}; there are {}", known.join(", "))
        })
    }

    /// Maps that are its result: all that have elements, or those that its profile names; without what is of who reads, where the
    /// profile tells that.
    pub fn tables(&self) -> Result<Vec<Table>> {
        let shown = |map: &&Map| self.is_shown(&map.name) && has_elements(map.map_type);
        let maps = self.maps.iter().filter(|map| map.data.is_none());
        let mut tables: Vec<_> = maps
            .filter(shown)
            .map(|map| self.table(&map.name))
            .collect::<Result<_>>()?;
        let reader = Reader::this();
        for table in &mut tables {
            table.leave_out(&reader, &self.profile.reader);
        }
        Ok(tables)
    }

    /// Variables that programs change, and that are its result.
    pub fn globals(&self) -> Result<Record> {
        let mut globals: Vec<(&str, Field)> = Vec::new();
        for map in &self.maps {
            let data = map.data.as_ref().map(|data| data.kind);
            if matches!(data, Some(DataKind::Data | DataKind::Bss)) {
                let table = self.table(&map.name)?;
                let values = table.elements.into_iter().flat_map(|(_, values)| values);
                let fields = values.flat_map(|value| value.fields);
                globals.extend(fields.map(|field| (map.name.as_str(), field)));
            }
        }
        let variable = |name: &str| name.split(['[', '.', '@']).next().map(str::to_owned);
        globals.retain(|(_, field)| variable(&field.name).is_some_and(|name| self.is_shown(&name)));
        let in_others = |of: &str, name: &str| {
            let mut others = globals.iter().filter(|(section, _)| *section != of);
            others.any(|(_, field)| variable(&field.name) == variable(name))
        };
        let named = |(section, field): &(&str, Field)| match in_others(section, &field.name) {
            true => format!("{section}.{}", field.name),
            false => field.name.clone(),
        };
        let names: Vec<_> = globals.iter().map(named).collect();
        let fields = globals.into_iter().zip(names);
        let fields = fields.map(|((_, field), name)| Field { name, ..field });
        Ok(Record {
            fields: fields.collect(),
        })
    }

    /// The frames of every stack that a map has, by its number.
    pub fn stacks(&self) -> Result<HashMap<i64, Vec<u64>>> {
        let mut stacks = HashMap::new();
        let is_it = |map: &&Map| MapType::from_id(map.map_type) == Some(MapType::StackTrace);
        for map in self.maps.iter().filter(is_it) {
            for (key, value) in self.started.session.elements(&map.name)? {
                let id = key.try_into().map(u32::from_ne_bytes).unwrap_or_default();
                let frames = value.chunks_exact(8);
                let frames = frames.map(|f| u64::from_ne_bytes(f.try_into().unwrap_or_default()));
                stacks.insert(
                    i64::from(id),
                    frames.take_while(|frame| *frame != 0).collect(),
                );
            }
        }
        Ok(stacks)
    }

    /// Removes what its tables show, so that the next ones begin anew; arrays and variables are set to zeros.
    pub fn clear(&self) -> Result<()> {
        let session = &self.started.session;
        for map in &self.maps {
            let is_data = map
                .data
                .as_ref()
                .is_some_and(|data| data.kind == DataKind::Bss);
            let is_table = map.data.is_none() && self.is_shown(&map.name);
            let is_table = is_table && has_elements(map.map_type);
            if !is_data && !is_table {
                continue;
            }
            let is_array = is_data || is_array(map.map_type);
            for (key, value) in session.elements(&map.name)? {
                match is_array {
                    true => session.update(&map.name, &key, &vec![0; value.len()])?,
                    false => session.delete(&map.name, &key)?,
                }
            }
        }
        Ok(())
    }

    fn is_shown(&self, name: &str) -> bool {
        let shown = &self.profile.show;
        shown.is_empty() || shown.iter().any(|shown| shown == name)
    }

    fn read(&self, map: &Map, elements: &Elements) -> Result<Table> {
        let btf = self.btf.as_ref();
        let value = |bytes: &[u8]| match map.data {
            Some(_) => Record::read_section(btf, map, bytes),
            None => Record::read(btf, map.value_type, bytes),
        };
        let mut table = Table::of(
            &map.name,
            elements,
            is_per_cpu(map.map_type).then_some(map.value_size as usize),
            |bytes| Record::read(btf, map.key_type, bytes),
            value,
        );
        let means = self.profile.means.get(&map.name);
        for (field, meaning) in means.into_iter().flatten() {
            table.mean(field, *meaning);
        }
        Ok(table)
    }
}

/// The file that a person means: a path, or a tool's name.
pub fn find(what: &Path) -> Result<PathBuf> {
    if what.exists() || what.components().count() > 1 {
        return Ok(what.to_owned());
    }
    let places = TOOLS.iter().map(|folder| Path::new(folder).join(what));
    let mut found = places.filter(|path| path.exists());
    match found.next() {
        Some(path) => Ok(path),
        None => bail!(
            "{}: no such file, and no tool of that name in {} (`apt install libbpf-tools` has 52)",
            what.display(),
            TOOLS.join(", ")
        ),
    }
}

//! The kernel's own eBPF, through libbpf: what every other runtime is compared with.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use abi::manifest::Manifest;
use abi::sections::{self, Attach};
use anyhow::{Context, Result, bail};
use libbpf_rs::libbpf_sys::{
    BPF_STATS_RUN_TIME, bpf_enable_stats, bpf_map__set_pin_path, bpf_obj_get_info_by_fd,
    bpf_prog_info,
};
use libbpf_rs::{
    AsRawLibbpf, Link, Map, MapCore, MapFlags, MapType, Object, ObjectBuilder, OpenObject,
    PerfBuffer, PerfBufferBuilder, PrintLevel, ProgramInput, ProgramMut, RingBuffer,
    RingBufferBuilder, UprobeOpts, set_print,
};

use super::{Cost, Count, Elements, PERF_PAGES, Sent, Session, perf};
use crate::attach::{Choice, Decision, Plan};
use crate::load::sizes;
use crate::open::Input;
use crate::settings::Settings;
use crate::target_btf::{self, TargetBtf};

/// An object loaded natively, with its attachments.
pub struct Native {
    object: Object,
    links: Vec<Link>,
    listeners: HashMap<String, Listener>,
    /// What [`Session::attach`] attaches, and where.
    choice: Choice,
    decisions: Vec<Decision>,
}

impl Native {
    /// Loads `programs` of `elf`, and nothing else of it.
    pub fn load(elf: &[u8], name: &str, programs: &[&str]) -> Result<Self> {
        let open = open(elf, name, programs, None)?;
        Native::finish(open, name)
    }

    /// As [`Native::load`], with what a person chose; `input` is the same object, translated.
    pub fn choose(
        input: &Input,
        programs: &[&str],
        choice: &Choice,
        settings: &Settings,
    ) -> Result<Self> {
        let name = &input.name;
        let elf = input.object.as_deref();
        let elf = elf.with_context(|| format!("{name}: no BPF object to load natively"))?;
        let manifest = input.manifest.as_ref();
        let btf = manifest.map(mended_btf).transpose()?.flatten();
        let mut open = open(elf, name, programs, btf.as_ref())?;
        for mut program in open.progs_mut() {
            let target = section_of(choice, &program.name().to_string_lossy());
            let target = target.and_then(|section| sections::find(section)?.1);
            let is_function = program.prog_type() == libbpf_rs::ProgramType::Tracing;
            if let Some(target) = target.filter(|_| is_function) {
                program.set_attach_target(0, Some(target.to_owned()))?;
            }
        }
        set(&mut open, input, settings)?;
        // `btf` is read until the object is loaded.
        Native::finish(open, name)
    }

    /// As [`Native::choose`], with the programs that are attached by default where `choice` names none.
    pub fn open(input: &Input, choice: &Choice, settings: &Settings) -> Result<Self> {
        let plan = Plan::new(input, choice)?;
        let manifest = input.manifest.as_ref();
        let manifest = manifest.context("a hand-written module has no native form")?;
        let attached = |export: &str| {
            let mut decisions = plan.decisions.iter();
            decisions.any(|d| d.attached && d.program == export)
        };
        let programs = manifest.programs.iter().filter(|p| attached(&p.export));
        let programs: Vec<_> = programs.map(|p| p.name.as_str()).collect();
        let native = Native::choose(input, &programs, choice, settings)?;
        Ok(Native {
            choice: choice.clone(),
            decisions: plan.decisions,
            ..native
        })
    }

    fn finish(open: OpenObject, name: &str) -> Result<Self> {
        let object = open
            .load()
            .with_context(|| format!("{name}: native load{}", said()))?;
        Ok(Native {
            object,
            links: Vec::new(),
            listeners: HashMap::new(),
            choice: Choice::default(),
            decisions: Vec::new(),
        })
    }

    /// Attaches what was loaded, as the sections say.
    pub fn attach(&mut self) -> Result<()> {
        self.attach_by(|_, program| Ok(vec![program.attach()?]))
    }

    /// Attaches what was loaded as `choice` says, else as the sections do.
    pub fn attach_chosen(&mut self, choice: &Choice) -> Result<()> {
        self.attach_by(|name, program| attach_at(program, section_of(choice, name), choice))
    }

    /// Attaches what was loaded as `how` does, which is given each program's name.
    pub fn attach_by(
        &mut self,
        how: impl Fn(&str, &ProgramMut<'_>) -> Result<Vec<Link>>,
    ) -> Result<()> {
        for program in self.object.progs_mut().filter(|p| p.autoload()) {
            let name = program.name().to_string_lossy().into_owned();
            let links = how(&name, &program);
            self.links
                .extend(links.with_context(|| format!("{name}: native attach{}", said()))?);
        }
        Ok(())
    }

    /// Attaches `program` alone, as its section says.
    pub fn attach_only(&mut self, program: &str) -> Result<()> {
        let found = self.object.progs_mut().find(|p| p.name() == program);
        let found = found.with_context(|| format!("no native program {program}"))?;
        let link = found.attach();
        self.links
            .push(link.with_context(|| format!("{program}: native attach"))?);
        Ok(())
    }

    /// Runs `program` once, without an event, as `BPF_PROG_TEST_RUN` does; its return value.
    pub fn test_run(&mut self, program: &str) -> Result<u32> {
        self.test(program, ProgramInput::default())
    }

    /// As [`Native::test_run`], on a packet.
    pub fn test_run_on(&mut self, program: &str, packet: &[u8]) -> Result<u32> {
        let input = ProgramInput {
            data_in: Some(packet),
            ..ProgramInput::default()
        };
        self.test(program, input)
    }

    fn test(&mut self, program: &str, input: ProgramInput<'_>) -> Result<u32> {
        let found = self.object.progs_mut().find(|p| p.name() == program);
        let found = found.with_context(|| format!("no native program {program}"))?;
        let output = found.test_run(input);
        Ok(output
            .with_context(|| format!("{program}: test run"))?
            .return_value)
    }

    /// Detaches everything; maps stay.
    pub fn detach(&mut self) {
        self.links.clear();
    }

    /// Sets the bytes of data section `section`.
    pub fn set_section(&self, section: &str, bytes: &[u8]) -> Result<()> {
        self.update(section, &0u32.to_ne_bytes(), bytes)
    }

    /// The bytes of data section `section` (`.bss`).
    pub fn section(&self, section: &str) -> Result<Vec<u8>> {
        let bytes = value(&self.map(section)?, &0u32.to_ne_bytes())?;
        bytes.with_context(|| format!("native section {section} is empty"))
    }

    /// Map or data section `name`.
    pub fn map(&self, name: &str) -> Result<Map<'_>> {
        let mut maps = self.object.maps();
        let map = maps.find(|map| is_it(&map.name().to_string_lossy(), name));
        map.with_context(|| format!("no native map {name}"))
    }

    /// Every element of map `name`, sorted by key.
    pub fn dump(&self, name: &str) -> Result<Elements> {
        let map = self.map(name)?;
        let mut elements = Vec::new();
        for key in map.keys() {
            // An element deleted meanwhile is simply not there.
            if let Some(value) = value(&map, &key)? {
                elements.push((key, value));
            }
        }
        elements.sort();
        Ok(elements)
    }

    /// The kernel's id of map `name`.
    pub fn map_id(&self, name: &str) -> Result<u32> {
        Ok(self.map(name)?.info()?.info.id)
    }
}

impl Session for Native {
    fn elements(&self, name: &str) -> Result<Elements> {
        self.dump(name)
    }

    fn update(&self, name: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let map = self.map(name)?;
        if !map.map_type().is_percpu() {
            return Ok(map.update(key, value, MapFlags::ANY)?);
        }
        let each = (map.value_size() as usize).next_multiple_of(8);
        let values: Vec<_> = value.chunks_exact(each).map(<[u8]>::to_vec).collect();
        Ok(map.update_percpu(key, &values, MapFlags::ANY)?)
    }

    fn delete(&self, name: &str, key: &[u8]) -> Result<()> {
        match self.map(name)?.delete(key) {
            Err(error) if error.kind() == libbpf_rs::ErrorKind::NotFound => Ok(()),
            other => Ok(other?),
        }
    }

    fn listen(&mut self, name: &str) -> Result<()> {
        let listener = Listener::new(&self.map(name)?)?;
        self.listeners.insert(name.to_owned(), listener);
        Ok(())
    }

    fn sent(&mut self, name: &str) -> Result<Sent> {
        let listener = self.listeners.get(name);
        listener
            .with_context(|| format!("nobody listens to {name}"))?
            .take()
    }

    fn cost(&self) -> Result<Cost> {
        let programs = self.object.progs().filter(|p| p.autoload());
        programs.map(|p| cost(p.as_fd())).sum()
    }

    fn attach(&mut self) -> Result<()> {
        let choice = self.choice.clone();
        self.attach_chosen(&choice)
    }

    fn detach(&mut self) {
        Native::detach(self);
    }

    fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    fn counts(&self) -> Result<Vec<Count>> {
        Ok(Vec::new())
    }

    fn report(&self) -> Result<Option<String>> {
        Ok(None)
    }

    fn notes(&self) -> &[String] {
        &[]
    }
}

/// Has the kernel time the runs of all programs while the descriptor is held.
pub(crate) fn time_runs() -> Result<OwnedFd> {
    // SAFETY: without arguments in memory; the descriptor is a new one.
    let fd = unsafe { bpf_enable_stats(BPF_STATS_RUN_TIME) };
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd)).context("timing native programs");
    }
    // SAFETY: as above; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What the kernel counts of `program`.
fn cost(program: BorrowedFd<'_>) -> Result<Cost> {
    let mut info = bpf_prog_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: the kernel writes at most `len` bytes to `info`, whose lengths of arrays are all zero.
    let result = unsafe {
        bpf_obj_get_info_by_fd(program.as_raw_fd(), (&raw mut info).cast(), &raw mut len)
    };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result)).context("information on a program");
    }
    Ok(Cost {
        misses: info.recursion_misses,
        timed: info.run_cnt,
        nanoseconds: info.run_time_ns,
    })
}

/// What libbpf said last, most of it the verifier's log.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn listen(_: PrintLevel, message: String) {
    let mut log = LOG.lock().expect("nothing panics here");
    log.extend(message.lines().map(str::to_owned));
}

/// The reasons among what libbpf said.
fn said() -> String {
    let log = LOG.lock().expect("nothing panics here");
    let is_reason = |line: &&String| {
        ["fail", "invalid", "not allowed"]
            .iter()
            .any(|word| line.contains(word))
    };
    let reasons = log
        .iter()
        .filter(is_reason)
        .map(|line| format!("\n  {line}"));
    reasons.collect()
}

/// The kernel's BTF, if it has to be another one for `manifest`'s programs.
fn mended_btf(manifest: &Manifest) -> Result<Option<File>> {
    if manifest.relocations.is_empty() {
        return Ok(None);
    }
    Ok(TargetBtf::read(None, manifest)?.mended()?)
}

/// Opens `elf`, to load `programs` of it, with relocations for the running kernel's BTF, or for `btf`.
fn open(elf: &[u8], name: &str, programs: &[&str], btf: Option<&File>) -> Result<OpenObject> {
    set_print(Some((PrintLevel::Warn, listen)));
    LOG.lock().expect("nothing panics here").clear();
    let mut builder = ObjectBuilder::default();
    if let Some(btf) = btf {
        builder.btf_custom_path(target_btf::path_of(btf))?;
    }
    let mut open = builder.name(name)?.open_memory(elf)?;
    for mut program in open.progs_mut() {
        let chosen = program
            .name()
            .to_str()
            .is_some_and(|n| programs.contains(&n));
        program.set_autoload(chosen);
    }
    for map in open.maps_mut() {
        // A session's maps are its own, as in wasm: not another's that were pinned under this name.
        // SAFETY: the map is the open object's; without a path nothing is kept of the call.
        let result = unsafe { bpf_map__set_pin_path(map.as_libbpf_object().as_ptr(), ptr::null()) };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result)).context("a map that is pinned");
        }
    }
    Ok(open)
}

/// Sets globals and sizes; a size that the object leaves open is the one that the other runtimes choose.
fn set(open: &mut OpenObject, input: &Input, settings: &Settings) -> Result<()> {
    let manifest = input.manifest.as_ref();
    let maps = manifest.map_or(&[][..], |m| &m.maps);
    let btf = input.btf();
    settings.check(maps, btf.as_ref())?;
    let cpus = thread::available_parallelism()?.get() as u32;
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        let Some(described) = maps.iter().find(|map| is_it(&name, &map.name)) else {
            continue;
        };
        if described.data.is_some() {
            if let Some(bytes) = map.initial_value_mut() {
                settings.apply(described, btf.as_ref(), bytes)?;
            }
            continue;
        }
        let (value_size, entries) = sizes(described, cpus);
        if value_size != described.value_size {
            map.set_value_size(value_size)?;
        }
        let entries = settings.entries(&name).unwrap_or(entries);
        if entries != described.max_entries {
            map.set_max_entries(entries)?;
        }
    }
    Ok(())
}

/// Whether libbpf's `name` is that of map `own`: a section's is shortened and has a part of the object's before it.
fn is_it(name: &str, own: &str) -> bool {
    match own.starts_with('.') {
        true => name.ends_with(own),
        false => name == own,
    }
}

/// A value as the module's maps have it: of a per-CPU map, all CPUs', each padded.
fn value(map: &Map<'_>, key: &[u8]) -> Result<Option<Vec<u8>>> {
    if !map.map_type().is_percpu() {
        return Ok(map.lookup(key, MapFlags::ANY)?);
    }
    let each = (map.value_size() as usize).next_multiple_of(8);
    let values = map.lookup_percpu(key, MapFlags::ANY)?;
    Ok(values.map(|values| {
        let padded = values.into_iter().flat_map(|mut value| {
            value.resize(each, 0);
            value
        });
        padded.collect()
    }))
}

/// The section that was chosen for `program` instead of its own.
fn section_of<'c>(choice: &'c Choice, program: &str) -> Option<&'c str> {
    let chosen = choice.sections.iter().find(|(name, _)| name == program);
    chosen.map(|(_, section)| section.as_str())
}

/// Attaches `program` as if it were in `section`, or as its own section says.
fn attach_at(
    program: &ProgramMut<'_>,
    section: Option<&str>,
    choice: &Choice,
) -> Result<Vec<Link>> {
    let own = program.section().to_string_lossy().into_owned();
    let own = own.trim_start_matches('?');
    let section = section.unwrap_or(own);
    let (row, target) = sections::find(section).with_context(|| format!("section {section}"))?;
    let target = target.unwrap_or_default();
    let pid = match choice.pid {
        0 => -1,
        pid => pid as i32,
    };
    let link = match row.attach {
        Attach::PerfEvent => return sample(program, choice),
        _ if section == own && row.attach != Attach::Usdt => program.attach()?,
        Attach::Kprobe => program.attach_kprobe(false, target)?,
        Attach::Kretprobe => program.attach_kprobe(true, target)?,
        Attach::Tracepoint => {
            let (category, name) = target.split_once('/').context("no CATEGORY/NAME")?;
            let category = libbpf_rs::TracepointCategory::Custom(category.to_owned());
            program.attach_tracepoint(category, name)?
        }
        Attach::RawTracepoint => program.attach_raw_tracepoint(target)?,
        // Their functions were set before they were loaded.
        Attach::TpBtf | Attach::Fentry | Attach::Fexit | Attach::FmodRet => program.attach()?,
        Attach::Uprobe | Attach::Uretprobe => {
            let (path, function) = target.rsplit_once(':').context("no PATH:SYMBOL")?;
            let options = UprobeOpts {
                retprobe: row.attach == Attach::Uretprobe,
                func_name: Some(function.to_owned()),
                ..UprobeOpts::default()
            };
            program.attach_uprobe_with_opts(pid, path, 0, options)?
        }
        Attach::Usdt => {
            let parts: Vec<_> = target.rsplitn(3, ':').collect();
            let [name, provider, path] = parts[..] else {
                bail!("{section}: no PATH:PROVIDER:NAME");
            };
            program.attach_usdt(pid, path, provider, name)?
        }
        other => bail!("{section}: {other:?} cannot be chosen natively"),
    };
    Ok(vec![link])
}

/// Attaches `program` to a perf event of every CPU.
fn sample(program: &ProgramMut<'_>, choice: &Choice) -> Result<Vec<Link>> {
    let cpus = thread::available_parallelism()?.get();
    let attach = |cpu| {
        let event = perf::open(cpu, choice.sampling).context("perf_event_open")?;
        Ok(program.attach_perf_event(event)?)
    };
    (0..cpus).map(attach).collect()
}

/// Keeps what a map sends.
struct Listener {
    rings: Rings,
    sent: Rc<RefCell<Sent>>,
}

enum Rings {
    Perf(PerfBuffer<'static>),
    Ring(RingBuffer<'static>),
}

impl Listener {
    fn new(map: &Map<'_>) -> Result<Self> {
        let sent = Rc::new(RefCell::new(Sent::default()));
        let (events, lost) = (Rc::clone(&sent), Rc::clone(&sent));
        let rings = match map.map_type() {
            MapType::PerfEventArray => Rings::Perf(
                PerfBufferBuilder::new(map)
                    .pages(PERF_PAGES as usize)
                    .sample_cb(move |cpu, event: &[u8]| {
                        let event = (cpu as u32, event.to_vec());
                        events.borrow_mut().events.push(event);
                    })
                    .lost_cb(move |_, count| lost.borrow_mut().lost += count)
                    .build()?,
            ),
            MapType::RingBuf => {
                let mut builder = RingBufferBuilder::new();
                builder.add(map, move |event| {
                    events.borrow_mut().events.push((0, event.to_vec()));
                    0
                })?;
                Rings::Ring(builder.build()?)
            }
            other => bail!("{}: {other:?} sends no events", map.name().display()),
        };
        Ok(Listener { rings, sent })
    }

    fn take(&self) -> Result<Sent> {
        match &self.rings {
            Rings::Perf(perf) => perf.consume()?,
            Rings::Ring(ring) => ring.poll(Duration::ZERO)?,
        }
        Ok(self.sent.take())
    }
}

//! The kernel's own eBPF, through libbpf: what every other runtime is compared with.

mod attach;
pub(crate) mod elements;
pub(crate) mod info;
mod rings;
mod usdt;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process;
use std::ptr;
use std::sync::Mutex;
use std::thread;

use abi::manifest::Manifest;
use abi::sections;
use anyhow::{Context, Result};
use libbpf_rs::libbpf_sys::bpf_map__set_pin_path;
use libbpf_rs::{
    AsRawLibbpf, Link, Map, MapCore, MapFlags, Object, ObjectBuilder, OpenObject, PrintLevel,
    ProgramInput, ProgramMut, set_print,
};

use super::{Cost, Count, Elements, Sent, Session};
use crate::attach::{Choice, Decision, Plan};
use crate::load::sizes;
use crate::open::Input;
use crate::settings::Settings;
use crate::target_btf::{self, TargetBtf};
use attach::{attach_at, section_of};
use rings::Listener;

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
        let input = &input.as_object()?;
        let plan = Plan::new(input, choice)?;
        let manifest = input.manifest.as_ref();
        let manifest = manifest.context("a hand-written module has no native form")?;
        let attached = |export: &str| {
            let mut decisions = plan.decisions.iter();
            decisions.any(|d| d.attached && d.export == export)
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
        let own = usdt::Specifications::of(&self.object)?;
        self.attach_by(|name, program| {
            attach_at(program, section_of(choice, name), choice, own.as_ref())
        })
    }

    /// Whether the specifications that libbpf writes for usdt programs are those that the object reads.
    pub fn usdt_by_libbpf(&self) -> Result<bool> {
        Ok(usdt::Specifications::of(&self.object)?.is_none())
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
        let bytes = elements::lookup(&self.map(section)?, &0u32.to_ne_bytes())?;
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
        elements::all(&self.map(name)?)
    }

    /// The kernel's id of map `name`.
    pub fn map_id(&self, name: &str) -> Result<u32> {
        Ok(self.map(name)?.info()?.info.id)
    }
}

/// The programs of `input`'s object that libbpf loads when it is asked for none.
pub(crate) fn autoloaded(input: &Input) -> Result<Vec<String>> {
    let elf = input.object.as_deref();
    let elf = elf.with_context(|| format!("{}: no BPF object", input.name))?;
    set_print(Some((PrintLevel::Warn, listen)));
    let open = ObjectBuilder::default()
        .name(&input.name)?
        .open_memory(elf)?;
    let programs = open.progs().filter(|program| program.autoload());
    let names = programs.map(|program| program.name().to_string_lossy().into_owned());
    Ok(names.collect())
}

impl Session for Native {
    fn elements(&self, name: &str) -> Result<Elements> {
        self.dump(name)
    }

    fn update(&self, name: &str, key: &[u8], value: &[u8]) -> Result<()> {
        elements::update(&self.map(name)?, key, value, MapFlags::ANY)
    }

    fn delete(&self, name: &str, key: &[u8]) -> Result<()> {
        elements::delete(&self.map(name)?, key).map(drop)
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

    fn sources(&self) -> Vec<BorrowedFd<'_>> {
        self.listeners.values().map(AsFd::as_fd).collect()
    }

    fn cost(&self) -> Result<Cost> {
        let programs = self.object.progs().filter(|p| p.autoload());
        programs.map(|p| info::cost(p.as_fd())).sum()
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

    fn about(&self) -> Result<String> {
        let loaded = self.object.progs().filter(|p| p.autoload()).count();
        let links = self.links.len();
        Ok(format!(
            "  engine    the kernel's eBPF: {loaded} programs loaded, {links} links\n  owner     process {}\n",
            process::id()
        ))
    }

    fn notes(&self) -> &[String] {
        &[]
    }
}

/// What libbpf said last, most of it the verifier's log.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn listen(_: PrintLevel, message: String) {
    let mut log = LOG.lock().expect("nothing panics here");
    log.extend(message.lines().map(str::to_owned));
}

/// The reasons among what libbpf said, the verifier's own first.
fn said() -> String {
    let log = LOG.lock().expect("nothing panics here");
    if let Some(reason) = verifier(&log) {
        return format!(": the verifier says: {reason}");
    }
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

/// The verifier's own reason: what its log ends with, after the instruction at which it gave up.
fn verifier(log: &[String]) -> Option<String> {
    let is_count = |line: &String| line.starts_with("processed ") && line.contains(" insns ");
    let end = log.iter().rposition(is_count)?;
    let is_code = |line: &str| {
        let number = line.split_once(": ").map(|(number, _)| number);
        let is_number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
        line.starts_with(';')
            || line.contains("BEGIN PROG LOAD LOG")
            || number.is_some_and(is_number)
    };
    let reason = log[..end].iter().rev().map(|line| line.trim());
    let mut reason: Vec<_> = reason.take_while(|line| !is_code(line)).collect();
    reason.retain(|line| !line.is_empty());
    reason.reverse();
    (!reason.is_empty()).then(|| reason.join("; "))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_s_reason_is_what_its_log_ends_with() {
        let log = |text: &str| verifier(&text.lines().map(str::to_owned).collect::<Vec<_>>());
        let outside = "libbpf: prog 'p': -- BEGIN PROG LOAD LOG --
10: (07) r2 += 1                      ; R2_w=scalar()
; hits++; @ prog.bpf.c:15
15: (7b) *(u64 *)(r1 +64) = r2
invalid access to map value, value_size=8 off=64 size=8
R1 min value is outside of the allowed memory range
processed 13 insns (limit 1000000) max_states_per_insn 0 total_states 1 peak_states 1 mark_read 1
-- END PROG LOAD LOG --
libbpf: prog 'p': failed to load: -13";
        let reason = "invalid access to map value, value_size=8 off=64 size=8; R1 min value is outside of the allowed memory range";
        assert_eq!(log(outside).as_deref(), Some(reason));
        assert_eq!(log("libbpf: map 'm': failed to create: -22"), None);
    }
}

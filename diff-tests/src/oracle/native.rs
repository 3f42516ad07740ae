//! The kernel's own eBPF, through libbpf: what every other runtime is compared with.

use anyhow::{Context, Result};
use libbpf_rs::{Link, Map, MapCore, MapFlags, Object, ObjectBuilder, ProgramInput, ProgramMut};

use crate::compare::Elements;

/// An object loaded natively, with its attachments.
pub struct Native {
    object: Object,
    links: Vec<Link>,
}

impl Native {
    /// Loads `programs` of `elf`, and nothing else of it.
    pub fn load(elf: &[u8], name: &str, programs: &[&str]) -> Result<Self> {
        let mut open = ObjectBuilder::default().name(name)?.open_memory(elf)?;
        for mut program in open.progs_mut() {
            let chosen = program
                .name()
                .to_str()
                .is_some_and(|n| programs.contains(&n));
            program.set_autoload(chosen);
        }
        let object = open
            .load()
            .with_context(|| format!("{name}: native load"))?;
        Ok(Native {
            object,
            links: Vec::new(),
        })
    }

    /// Attaches what was loaded, as the sections say.
    pub fn attach(&mut self) -> Result<()> {
        self.attach_by(|_, program| Ok(vec![program.attach()?]))
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
                .extend(links.with_context(|| format!("{name}: native attach"))?);
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
        let found = self.object.progs_mut().find(|p| p.name() == program);
        let found = found.with_context(|| format!("no native program {program}"))?;
        let output = found.test_run(ProgramInput::default());
        Ok(output
            .with_context(|| format!("{program}: test run"))?
            .return_value)
    }

    /// Detaches everything; maps stay.
    pub fn detach(&mut self) {
        self.links.clear();
    }

    fn section_map(&self, section: &str) -> Result<Map<'_>> {
        let map = self
            .object
            .maps()
            .find(|m| m.name().to_string_lossy().ends_with(section));
        map.with_context(|| format!("no native section {section}"))
    }

    /// Sets the bytes of data section `section`.
    pub fn set_section(&self, section: &str, bytes: &[u8]) -> Result<()> {
        let map = self.section_map(section)?;
        Ok(map.update(&0u32.to_ne_bytes(), bytes, MapFlags::ANY)?)
    }

    /// The bytes of data section `section` (`.bss`).
    pub fn section(&self, section: &str) -> Result<Vec<u8>> {
        let map = self.section_map(section)?;
        let bytes = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY)?;
        bytes.with_context(|| format!("native section {section} is empty"))
    }

    /// Map `name`.
    pub fn map(&self, name: &str) -> Result<Map<'_>> {
        let map = self.object.maps().find(|m| m.name() == name);
        map.with_context(|| format!("no native map {name}"))
    }

    /// Every element of map `name`, sorted by key.
    pub fn dump(&self, name: &str) -> Result<Elements> {
        let map = self.map(name)?;
        let mut elements = Vec::new();
        for key in map.keys() {
            // An element deleted meanwhile is simply not there.
            if let Some(value) = map.lookup(&key, MapFlags::ANY)? {
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

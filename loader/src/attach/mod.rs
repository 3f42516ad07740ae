//! Which programs are attached, and to what.
//!
//! The policy is libbpf's: what the user named; else every program that is loaded by default and that this kernel can
//! attach, several at one place included. Some tools carry one event under two program types (a kprobe and an fentry
//! program, say) and load one of them: that is for the tool's profile to say ([`Choice::alternatives`]).
//!
//! What user space can know of a place is found out here ([`kernel`]); [`place`] makes an attachment of it.

mod elf;
pub(crate) mod files;
pub(crate) mod kernel;
mod place;
pub(crate) mod usdt;

use std::fmt;

use abi::manifest::{Manifest, Program};
use abi::sections;
use abi::uapi::AttachPoint;

use crate::answers::Source;
use crate::device::{self, Link, LinkSpec, Map, Module, Sampling};
use crate::open::Input;
use crate::syscalls;
use kernel::Kernel;
use place::Attachment;

/// What the user wants of the attachments.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Names of programs or exports to attach; none meaning the default.
    pub programs: Vec<String>,
    /// Programs that are attached by default, where the object's own defaults are not meant.
    pub usual: Vec<String>,
    /// Programs of which a tool loads one: of each list, the first that this kernel can attach. What the user names is
    /// attached whatever is said here.
    pub alternatives: Vec<Vec<String>>,
    /// Programs to attach as if they were in another section: name and section.
    pub sections: Vec<(String, String)>,
    /// Values of `bpf_get_attach_cookie()`: name and value. usdt programs have their own.
    pub cookies: Vec<(String, u64)>,
    /// What perf_event programs sample, if it is not the CPU's clock 99 times a second.
    pub sampling: Option<Sampling>,
    /// The process whose uprobe hits count; 0: any.
    pub pid: u32,
}

impl Choice {
    /// The same by programs' own names, where some are chosen by their exports'.
    #[must_use]
    pub fn by_name(mut self, input: &Input) -> Self {
        let own = |name: &mut String| *name = input.program(name).to_owned();
        self.programs.iter_mut().for_each(own);
        let sections = self.sections.iter_mut().map(|(name, _)| name);
        let cookies = self.cookies.iter_mut().map(|(name, _)| name);
        sections.chain(cookies).for_each(own);
        self
    }
}

/// What is attached, and why the rest is not.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// A line a program: what was decided and why.
    pub decisions: Vec<Decision>,
    /// What may be attached, in the object's order, but for alternatives: in theirs.
    attempts: Vec<Attempt>,
    alternatives: Vec<Vec<String>>,
}

/// A program that may be attached.
#[derive(Clone, Debug)]
struct Attempt {
    /// Index of its decision.
    decision: usize,
    name: String,
    /// Whether the user asked for this very one.
    named: bool,
    attachment: Attachment,
    /// Maps that it uses.
    maps: Vec<String>,
}

/// What was decided about one program.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Decision {
    /// The program, as C names it; of a hand-written module the export.
    pub program: String,
    /// Its export.
    pub export: String,
    /// Whether it is attached.
    pub attached: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Why there is no plan.
#[derive(Debug)]
pub enum Error {
    /// A named program is not there.
    NoSuchProgram(String, Vec<String>),
    /// A named program cannot be attached.
    Cannot(String, String),
    /// No section has such a name.
    NoSuchSection(String),
    /// Nothing is left to attach.
    Nothing(Vec<Decision>),
    /// No program that is attached does anything with what was chosen: what that is, and which programs would.
    Idle(&'static str, &'static str),
    /// The device refuses a named program.
    Device(device::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoSuchProgram(name, known) => {
                write!(f, "no program {name}; there are {}", known.join(", "))
            }
            Error::Cannot(name, why) => write!(f, "program {name}: {why}"),
            Error::Device(e) => e.fmt(f),
            Error::Idle(what, which) => write!(
                f,
                "{what}: nothing that is attached is {which} program (what a tool looks at is for its variables to say: --set)"
            ),
            Error::NoSuchSection(name) => write!(f, "no programs are in sections like {name}"),
            Error::Nothing(decisions) => {
                write!(f, "nothing to attach")?;
                decisions
                    .iter()
                    .try_for_each(|d| write!(f, "\n  {}: {}", d.program, d.reason))
            }
        }
    }
}

impl std::error::Error for Error {}

impl Plan {
    /// Decides for `input` and the running kernel.
    pub fn new(input: &Input, choice: &Choice) -> Result<Self, Error> {
        Plan::with(input, choice, &Source::default())
    }

    /// As [`Plan::new`], with the kernel's types from elsewhere.
    pub fn with(input: &Input, choice: &Choice, source: &Source) -> Result<Self, Error> {
        let kernel = Kernel::of(source.clone());
        let layout;
        let candidates = match &input.manifest {
            Some(manifest) => {
                layout = usdt::Layout::of_object(manifest, input.btf().as_ref());
                translated(manifest, choice, &kernel, layout.as_ref())?
            }
            None => hand_written(input),
        };
        let moved = choice.sections.iter().map(|(name, _)| name);
        let marked = choice.cookies.iter().map(|(name, _)| name);
        let refused = input.manifest.as_ref().map_or(&[][..], |m| &m.refused);
        for name in choice.programs.iter().chain(moved).chain(marked) {
            if let Some(refused) = refused.iter().find(|refused| refused.name == *name) {
                return Err(Error::Cannot(name.clone(), refused.why.clone()));
            }
            if !candidates.iter().any(|c| c.is(name)) {
                let known = candidates.iter().map(|c| c.name.clone()).collect();
                return Err(Error::NoSuchProgram(name.clone(), known));
            }
        }
        let mut plan = Plan {
            alternatives: choice.alternatives.clone(),
            ..Plan::default()
        };
        for candidate in candidates {
            plan.consider(candidate, choice)?;
        }
        let Plan {
            attempts,
            alternatives,
            ..
        } = &mut plan;
        attempts.sort_by_key(|attempt| rank(alternatives, &attempt.name));
        plan.decisions
            .extend(refused.iter().map(|refused| Decision {
                program: refused.name.clone(),
                export: String::new(),
                attached: false,
                reason: format!("not translated: {}", refused.why),
            }));
        plan.settle(|_| Ok(()))?;
        plan.heeds(choice)?;
        Ok(plan)
    }

    /// What is to be attached, or is.
    pub fn links(&self) -> impl Iterator<Item = &LinkSpec> {
        self.attempts
            .iter()
            .filter(|attempt| self.decisions[attempt.decision].attached)
            .flat_map(|attempt| &attempt.attachment.links)
    }

    /// Attaches programs of `module`. One that the device refuses makes room for its alternative, unless it is named:
    /// then nothing stays attached. `maps` are those of the module's sandbox.
    pub fn attach(&mut self, module: &Module, maps: &[Map]) -> Result<Vec<Link>, Error> {
        self.withhold(maps)?;
        let mut links = Vec::new();
        let mut specs = usdt::Specs::new(maps);
        self.settle(|attachment| {
            links.extend(attachment.attach(module, &mut specs)?);
            Ok(())
        })?;
        Ok(links)
    }

    /// Takes back what uses maps that are not among `maps`: they were not made.
    fn withhold(&mut self, maps: &[Map]) -> Result<(), Error> {
        let is_absent = |name: &&String| !maps.iter().any(|map| map.name() == **name);
        let (mut kept, decisions) = (Vec::new(), &mut self.decisions);
        for attempt in std::mem::take(&mut self.attempts) {
            let Some(map) = attempt.maps.iter().find(is_absent) else {
                kept.push(attempt);
                continue;
            };
            let why = format!("its map {map} is not there: the runtime could not make it");
            if attempt.named {
                return Err(Error::Cannot(attempt.name, why));
            }
            let decision = &mut decisions[attempt.decision];
            (decision.attached, decision.reason) = (false, why);
        }
        self.attempts = kept;
        Ok(())
    }

    /// Whether there is somebody for what `choice` says to some programs only.
    fn heeds(&self, choice: &Choice) -> Result<(), Error> {
        let of_process =
            |link: &LinkSpec| matches!(link.attach, AttachPoint::Uprobe | AttachPoint::Uretprobe);
        if choice.pid != 0 && !self.links().any(of_process) {
            return Err(Error::Idle("--pid", "a uprobe or usdt"));
        }
        if choice.sampling.is_some() && !self.links().any(|link| link.sampling.is_some()) {
            return Err(Error::Idle("--frequency", "a perf_event"));
        }
        Ok(())
    }

    /// Notes what `candidate` could be attached to, or why it is not.
    fn consider(&mut self, candidate: Candidate, choice: &Choice) -> Result<(), Error> {
        let chosen = &choice.programs;
        let is_in = |names: &[String]| names.iter().any(|name| candidate.is(name));
        let named = is_in(chosen);
        let wanted = match (chosen.is_empty(), choice.usual.is_empty()) {
            (false, _) => named,
            (true, false) => is_in(&choice.usual),
            (true, true) => candidate.autoload,
        };
        let Candidate {
            name,
            export,
            link,
            maps,
            ..
        } = candidate;
        // What is not wanted is not looked up in the kernel, which takes longer than to load most tools.
        let reason = match wanted.then(link) {
            None if chosen.is_empty() => "not loaded by default".to_owned(),
            None => "not asked for".to_owned(),
            Some(Err(why)) if named => return Err(Error::Cannot(name, why)),
            Some(Err(why)) => why,
            Some(Ok(attachment)) => {
                self.attempts.push(Attempt {
                    decision: self.decisions.len(),
                    name: name.clone(),
                    named,
                    attachment,
                    maps,
                });
                String::new()
            }
        };
        self.decisions.push(Decision {
            program: name,
            export,
            attached: false,
            reason,
        });
        Ok(())
    }

    /// Makes every attempt, unless an alternative is attached already, and notes how it went.
    fn settle(
        &mut self,
        mut attach: impl FnMut(&Attachment) -> device::Result<()>,
    ) -> Result<(), Error> {
        let mut attached: Vec<&str> = Vec::new();
        for attempt in &self.attempts {
            let mut lists = self.alternatives.iter();
            let other = lists.find_map(|list| {
                let rank = list.iter().position(|name| *name == attempt.name)?;
                list[..rank]
                    .iter()
                    .find(|name| attached.contains(&name.as_str()))
            });
            let decision = &mut self.decisions[attempt.decision];
            decision.attached = false;
            decision.reason = match other.filter(|_| !attempt.named) {
                Some(other) => format!("its tool attaches {other} instead"),
                None => match attach(&attempt.attachment) {
                    Ok(()) => {
                        decision.attached = true;
                        attached.push(&attempt.name);
                        attempt.attachment.to_string()
                    }
                    Err(error) if attempt.named => return Err(Error::Device(error)),
                    Err(error) => error.to_string(),
                },
            };
        }
        match attached.is_empty() {
            true => Err(Error::Nothing(self.decisions.clone())),
            false => Ok(()),
        }
    }
}

/// The place of program `name` in its list of alternatives, the last if it is in several.
fn rank(alternatives: &[Vec<String>], name: &str) -> usize {
    let ranks = alternatives.iter();
    let ranks = ranks.filter_map(|list| list.iter().position(|other| other == name));
    ranks.max().unwrap_or(0)
}

/// A program that may be attached.
struct Candidate<'a> {
    name: String,
    export: String,
    autoload: bool,
    maps: Vec<String>,
    link: Box<dyn FnOnce() -> Result<Attachment, String> + 'a>,
}

impl Candidate<'_> {
    fn is(&self, name: &str) -> bool {
        self.name == name || self.export == name
    }
}

fn translated<'a>(
    manifest: &Manifest,
    choice: &'a Choice,
    kernel: &'a Kernel,
    layout: Option<&'a usdt::Layout>,
) -> Result<Vec<Candidate<'a>>, Error> {
    // Such an object may read further for another version of the kernel, which native eBPF never comes to see: it
    // gets all there is here.
    let has_versions = manifest.maps.iter().any(|map| map.name == ".kconfig");
    let candidate = |program: &Program| {
        let mut program = program.clone();
        program.context = program.context.filter(|_| !has_versions);
        let is_it = |name: &String| *name == program.name || *name == program.export;
        let section = choice.sections.iter().find(|(name, _)| is_it(name));
        if let Some((_, section)) = section {
            let (row, target) =
                sections::find(section).ok_or_else(|| Error::NoSuchSection(section.clone()))?;
            program.attach = row.attach;
            program.target = target.map(str::to_owned);
        }
        Ok(Candidate {
            name: program.name.clone(),
            export: program.export.clone(),
            autoload: program.autoload || section.is_some(),
            maps: used(manifest, &program),
            link: Box::new(move || place::attachment(&program, choice, kernel, layout)),
        })
    };
    manifest.programs.iter().map(candidate).collect()
}

/// Names of the maps that `program` uses.
fn used(manifest: &Manifest, program: &Program) -> Vec<String> {
    let maps = program.maps.iter();
    let maps = maps.filter_map(|index| manifest.maps.get(*index as usize));
    maps.map(|map| map.name.clone()).collect()
}

fn hand_written(input: &Input) -> Vec<Candidate<'static>> {
    let candidate = |export: &String| {
        let link = syscalls::link(export)?.map_err(|e| e.to_string());
        Some(Candidate {
            name: export.clone(),
            export: export.clone(),
            autoload: true,
            maps: Vec::new(),
            link: Box::new(|| link.map(Attachment::from)),
        })
    };
    input
        .interface
        .functions
        .iter()
        .filter_map(candidate)
        .collect()
}

#[cfg(test)]
mod tests {
    use abi::sections::Attach;

    use super::*;
    use crate::interface::Interface;

    fn program(name: &str, attach: Attach, target: &str, autoload: bool) -> Program {
        Program {
            name: name.to_owned(),
            section: String::new(),
            export: format!("{attach:?}:{target}"),
            attach,
            target: Some(target.to_owned()),
            autoload,
            sleepable: false,
            context: Some(0),
            maps: vec![],
            lacks: vec![],
        }
    }

    fn plan(programs: Vec<Program>, chosen: &[&str]) -> Result<Plan, Error> {
        let choice = Choice {
            programs: chosen.iter().map(|c| (*c).to_owned()).collect(),
            ..Choice::default()
        };
        plan_of(programs, &choice)
    }

    fn plan_of(programs: Vec<Program>, choice: &Choice) -> Result<Plan, Error> {
        let manifest = Manifest {
            version: abi::manifest::VERSION,
            translator: String::new(),
            object: String::new(),
            license: String::new(),
            programs,
            refused: vec![],
            maps: vec![],
            relocations: vec![],
            externs: vec![],
            functions: vec![],
            stack: 0,
        };
        let input = Input {
            name: String::new(),
            wasm: vec![],
            manifest: Some(manifest),
            interface: Interface::default(),
            object: None,
            refusal: None,
        };
        Plan::new(&input, choice)
    }

    fn vfsstat() -> Vec<Program> {
        vec![
            program("kprobe_read", Attach::Kprobe, "vfs_read", true),
            program("lsm_read", Attach::Lsm, "vfs_read", true),
            program("optional", Attach::Kprobe, "vfs_open", false),
        ]
    }

    #[test]
    fn of_two_program_types_the_supported_one_is_attached() {
        let plan = plan(vfsstat(), &[]).unwrap();
        let links: Vec<_> = plan.links().map(|l| l.target.as_str()).collect();
        assert_eq!(links, ["vfs_read"]);
        assert_eq!(
            plan.decisions[1].reason,
            "lsm is not supported by the kernel module"
        );
        assert_eq!(plan.decisions[2].reason, "not loaded by default");
    }

    #[test]
    fn every_program_of_a_place_is_attached() {
        let programs = vec![
            program("a", Attach::Kprobe, "vfs_read", true),
            program("b", Attach::Kprobe, "vfs_read", true),
            program("c", Attach::Kretprobe, "vfs_read", true),
        ];
        assert_eq!(plan(programs, &[]).unwrap().links().count(), 3);
    }

    #[test]
    fn what_has_many_places_or_sessions_is_refused_by_name() {
        let mut programs = vec![program("a", Attach::Kprobe, "vfs_read", true)];
        for (section, attach) in [
            ("kprobe.multi", Attach::KprobeMulti),
            ("uretprobe.multi.s", Attach::UretprobeMulti),
            ("?kprobe.session", Attach::KprobeSession),
            ("fsession", Attach::Fsession),
        ] {
            programs.push(Program {
                section: format!("{section}/vfs_*"),
                ..program(section, attach, "vfs_*", true)
            });
        }
        let plan = plan(programs, &[]).unwrap();
        for (decision, name) in plan.decisions[1..].iter().zip([
            "kprobe.multi",
            "uretprobe.multi.s",
            "kprobe.session",
            "fsession",
        ]) {
            let said = format!("{name} is not supported by the kernel module: ");
            assert!(decision.reason.starts_with(&said), "{}", decision.reason);
        }
    }

    #[test]
    fn of_alternatives_the_first_that_can_be_is_attached() {
        let attached = |chosen: &[&str], alternatives: &[&[&str]]| {
            let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
            let choice = Choice {
                programs: names(chosen),
                alternatives: alternatives.iter().map(|list| names(list)).collect(),
                ..Choice::default()
            };
            let programs = vec![
                program("a", Attach::Kprobe, "vfs_read", true),
                program("b", Attach::Kprobe, "vfs_read", true),
                program("c", Attach::Kretprobe, "vfs_read", true),
                program("lsm", Attach::Lsm, "vfs_read", true),
            ];
            let plan = plan_of(programs, &choice).unwrap();
            let attached = plan.decisions.iter().filter(|d| d.attached);
            let places: Vec<_> = attached.map(|d| d.program.clone()).collect();
            places.len()
        };
        assert_eq!(attached(&[], &[]), 3);
        assert_eq!(attached(&[], &[&["a", "b"]]), 2);
        assert_eq!(attached(&[], &[&["lsm", "a", "b"]]), 2);
        assert_eq!(attached(&[], &[&["c", "a"], &["c", "b"]]), 1);
        assert_eq!(attached(&["a", "b"], &[&["a", "b"]]), 2);
    }

    #[test]
    fn what_a_tool_attaches_by_default_goes_before_the_object_s_own() {
        let choice = Choice {
            usual: vec!["optional".to_owned()],
            ..Choice::default()
        };
        let plan = plan_of(vfsstat(), &choice).unwrap();
        let links: Vec<_> = plan.links().map(|l| l.target.as_str()).collect();
        assert_eq!(links, ["vfs_open"]);
    }

    #[test]
    fn what_nobody_heeds_is_refused() {
        let of = |pid, sampling| {
            let programs = vec![program("a", Attach::Kprobe, "vfs_read", true)];
            let choice = Choice {
                pid,
                sampling,
                ..Choice::default()
            };
            plan_of(programs, &choice).map_err(|e| e.to_string())
        };
        assert!(of(0, None).is_ok());
        let refusal = |result: Result<Plan, String>| result.unwrap_err();
        assert!(refusal(of(7, None)).starts_with("--pid: nothing that is attached"));
        let sampling = Some(Sampling::default());
        assert!(refusal(of(0, sampling)).starts_with("--frequency: nothing that is attached"));
        let programs = vec![program("p", Attach::PerfEvent, "", true)];
        let choice = Choice {
            sampling,
            ..Choice::default()
        };
        assert!(plan_of(programs, &choice).is_ok());
    }

    #[test]
    fn the_user_picks() {
        assert_eq!(
            plan(vfsstat(), &["optional"])
                .unwrap()
                .links()
                .next()
                .unwrap()
                .target,
            "vfs_open"
        );
        assert!(matches!(
            plan(vfsstat(), &["lsm_read"]),
            Err(Error::Cannot(..))
        ));
        assert!(matches!(
            plan(vfsstat(), &["nosuch"]),
            Err(Error::NoSuchProgram(..))
        ));
        assert!(matches!(plan(vec![], &[]), Err(Error::Nothing(_))));
    }
}

//! The plan: which programs may be attached, and what became of each.

use abi::manifest::{Manifest, Program};
use abi::sections;
use abi::uapi::AttachPoint;

use super::kernel::Kernel;
use super::place::{self, Attachment};
use super::{Choice, Decision, Error, at_place, usdt};
use crate::answers::Source;
use crate::device::{self, Link, LinkSpec, Map, Module};
use crate::open::Input;
use crate::syscalls;

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
        let moved = choice.sections.iter().map(|(name, _)| name.as_str());
        let marked = choice.cookies.iter();
        let marked = marked.map(|(name, _)| at_place(name).0);
        let refused = input.manifest.as_ref().map_or(&[][..], |m| &m.refused);
        let chosen = choice.programs.iter().map(String::as_str);
        for name in chosen.chain(moved).chain(marked) {
            if let Some(refused) = refused.iter().find(|refused| refused.name == *name) {
                return Err(Error::Cannot(name.to_owned(), refused.why.clone()));
            }
            if !candidates.iter().any(|c| c.is(name)) {
                let known = candidates.iter().map(|c| c.name.clone()).collect();
                return Err(Error::NoSuchProgram(name.to_owned(), known));
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
            if row.attach.is_session() != program.attach.is_session() {
                let why = format!(
                    "{section}: whether a program is of a session its own section says, which is {}",
                    program.section
                );
                return Err(Error::Cannot(program.name, why));
            }
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

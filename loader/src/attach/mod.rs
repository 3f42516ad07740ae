//! Which programs are attached, and to what.
//!
//! Many tools carry one event under two program types (a kprobe and an fentry program, say) and load one of
//! them. The policy: what the user named; else every program that is loaded by default and that this
//! kernel can attach. One event is never attached twice.
//!
//! What user space can know of a place is found out here ([`kernel`]); [`place`] makes an attachment of it.

pub(crate) mod kernel;
mod place;

use std::collections::HashMap;
use std::fmt;

use abi::manifest::{Manifest, Program};
use abi::sections;

use crate::device::{LinkSpec, Sampling};
use crate::open::Input;
use crate::syscalls;
use kernel::Kernel;
use place::Event;

/// What the user wants of the attachments.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Names of programs or exports to attach; none meaning the default.
    pub programs: Vec<String>,
    /// Programs to attach as if they were in another section: name and section.
    pub sections: Vec<(String, String)>,
    /// What perf_event programs sample.
    pub sampling: Sampling,
    /// The process whose uprobe hits count; 0: any.
    pub pid: u32,
}

/// What is attached, and why the rest is not.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Attachments, in the object's order.
    pub links: Vec<LinkSpec>,
    /// A line a program: what was decided and why.
    pub decisions: Vec<Decision>,
}

/// What was decided about one program.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Decision {
    /// The export.
    pub program: String,
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
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoSuchProgram(name, known) => {
                write!(f, "no program {name}; there are {}", known.join(", "))
            }
            Error::Cannot(name, why) => write!(f, "program {name}: {why}"),
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
        let kernel = Kernel::default();
        let candidates = match &input.manifest {
            Some(manifest) => translated(manifest, choice, &kernel)?,
            None => hand_written(input),
        };
        let named = choice.sections.iter().map(|(name, _)| name);
        for name in choice.programs.iter().chain(named) {
            if !candidates.iter().any(|c| c.is(name)) {
                let known = candidates.iter().map(|c| c.name.clone()).collect();
                return Err(Error::NoSuchProgram(name.clone(), known));
            }
        }
        let mut plan = Plan::default();
        let mut taken = HashMap::new();
        for candidate in candidates {
            let decision = plan.decide(candidate, &choice.programs, &mut taken)?;
            plan.decisions.push(decision);
        }
        match plan.links.is_empty() {
            true => Err(Error::Nothing(plan.decisions)),
            false => Ok(plan),
        }
    }

    /// Attaches `candidate` or says why not; `taken` are the events that have a program already.
    fn decide(
        &mut self,
        candidate: Candidate,
        chosen: &[String],
        taken: &mut HashMap<Event, String>,
    ) -> Result<Decision, Error> {
        let Candidate {
            name,
            export,
            autoload,
            link,
        } = candidate;
        let named = chosen.iter().any(|c| *c == name || *c == export);
        let wanted = if chosen.is_empty() { autoload } else { named };
        let (attached, reason) = match link {
            Err(why) if named => return Err(Error::Cannot(name, why)),
            Err(why) => (false, why),
            Ok(_) if !wanted && chosen.is_empty() => (false, "not loaded by default".to_owned()),
            Ok(_) if !wanted => (false, "not asked for".to_owned()),
            Ok(link) => {
                let event = Event::of(&link);
                match taken.get(&event) {
                    Some(other) if !named => (false, format!("{other} has the same event")),
                    _ => {
                        taken.insert(event, name);
                        let reason = format!("{} on {}", link.attach.name(), link.target);
                        self.links.push(link);
                        (true, reason)
                    }
                }
            }
        };
        Ok(Decision {
            program: export,
            attached,
            reason,
        })
    }
}

/// A program that may be attached.
struct Candidate {
    name: String,
    export: String,
    autoload: bool,
    link: Result<LinkSpec, String>,
}

impl Candidate {
    fn is(&self, name: &str) -> bool {
        self.name == name || self.export == name
    }
}

fn translated(
    manifest: &Manifest,
    choice: &Choice,
    kernel: &Kernel,
) -> Result<Vec<Candidate>, Error> {
    let candidate = |program: &Program| {
        let mut program = program.clone();
        let is_it = |name: &String| *name == program.name || *name == program.export;
        let section = choice.sections.iter().find(|(name, _)| is_it(name));
        if let Some((_, section)) = section {
            let (row, target) =
                sections::find(section).ok_or_else(|| Error::NoSuchSection(section.clone()))?;
            program.attach = row.attach;
            program.target = target.map(str::to_owned);
        }
        Ok(Candidate {
            link: place::link(&program, choice, kernel),
            name: program.name,
            export: program.export,
            autoload: program.autoload || section.is_some(),
        })
    };
    manifest.programs.iter().map(candidate).collect()
}

fn hand_written(input: &Input) -> Vec<Candidate> {
    let candidate = |export: &String| {
        let link = syscalls::link(export)?.map_err(|e| e.to_string());
        Some(Candidate {
            name: export.clone(),
            export: export.clone(),
            autoload: true,
            link,
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
        }
    }

    fn plan(programs: Vec<Program>, chosen: &[&str]) -> Result<Plan, Error> {
        let manifest = Manifest {
            version: abi::manifest::VERSION,
            translator: String::new(),
            object: String::new(),
            license: String::new(),
            programs,
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
        };
        let programs = chosen.iter().map(|c| (*c).to_owned()).collect();
        Plan::new(
            &input,
            &Choice {
                programs,
                ..Choice::default()
            },
        )
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
        let links: Vec<_> = plan.links.iter().map(|l| l.target.as_str()).collect();
        assert_eq!(links, ["vfs_read"]);
        assert_eq!(
            plan.decisions[1].reason,
            "lsm is not supported by the kernel module"
        );
        assert_eq!(plan.decisions[2].reason, "not loaded by default");
    }

    #[test]
    fn an_event_is_attached_once_unless_asked_twice() {
        let twice = || {
            vec![
                program("a", Attach::Kprobe, "vfs_read", true),
                program("b", Attach::Kprobe, "vfs_read", true),
            ]
        };
        assert_eq!(plan(twice(), &[]).unwrap().links.len(), 1);
        assert_eq!(plan(twice(), &["a", "b"]).unwrap().links.len(), 2);
    }

    #[test]
    fn the_user_picks() {
        assert_eq!(
            plan(vfsstat(), &["optional"]).unwrap().links[0].target,
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

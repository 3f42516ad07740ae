//! Which programs are attached, and to what.
//!
//! Many tools carry one event under two program types (a kprobe and an fentry program, say) and load one of
//! them. The policy: what the user named; else every program that is loaded by default and that the
//! runtime can attach. One event is never attached twice.

use std::collections::HashMap;
use std::fmt;

use abi::manifest::{Manifest, Program};
use abi::sections::Attach;
use abi::uapi::AttachPoint;

use crate::device::LinkSpec;
use crate::open::Input;
use crate::syscalls;

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
    /// Decides for `input`; `chosen` are names of programs or exports, none meaning the default.
    pub fn new(input: &Input, chosen: &[String]) -> Result<Self, Error> {
        let candidates = match &input.manifest {
            Some(manifest) => translated(manifest),
            None => hand_written(input),
        };
        for name in chosen {
            if !candidates.iter().any(|c| c.is(name)) {
                let known = candidates.iter().map(|c| c.name.clone()).collect();
                return Err(Error::NoSuchProgram(name.clone(), known));
            }
        }
        let mut plan = Plan::default();
        let mut taken = HashMap::new();
        for candidate in candidates {
            let decision = plan.decide(candidate, chosen, &mut taken)?;
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
        taken: &mut HashMap<(String, u64, u32), String>,
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
                let event = (link.target.clone(), link.offset, link.attach as u32);
                match taken.get(&event) {
                    Some(other) if !named => (false, format!("{other} has the same event")),
                    _ => {
                        taken.insert(event, name);
                        let reason = format!("{:?} on {}", link.attach, link.target);
                        self.links.push(link);
                        (true, reason.to_lowercase())
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

fn translated(manifest: &Manifest) -> Vec<Candidate> {
    let candidate = |program: &Program| Candidate {
        name: program.name.clone(),
        export: program.export.clone(),
        autoload: program.autoload,
        link: link(program),
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

/// The attachment of a translated program, or why this runtime has none.
fn link(program: &Program) -> Result<LinkSpec, String> {
    let target = program
        .target
        .as_deref()
        .ok_or("its section names no target")?;
    let (target, attach) = match program.attach {
        Attach::Kprobe => (target.to_owned(), AttachPoint::Kprobe),
        Attach::Kretprobe => (target.to_owned(), AttachPoint::Kretprobe),
        Attach::Ksyscall => (format!("__x64_sys_{target}"), AttachPoint::Kprobe),
        Attach::Kretsyscall => (format!("__x64_sys_{target}"), AttachPoint::Kretprobe),
        other => {
            return Err(format!("{other:?} is not supported by the kernel module").to_lowercase());
        }
    };
    let (symbol, offset) = split_offset(&target)?;
    Ok(LinkSpec {
        program: program.export.clone(),
        target: symbol.to_owned(),
        attach,
        context: program.context.unwrap_or(size_of_pt_regs()),
        offset,
        cookie: 0,
        args: [0; 8],
    })
}

/// Bytes of the kernel's `struct pt_regs` on x86-64: 21 registers.
const fn size_of_pt_regs() -> u32 {
    21 * 8
}

/// `symbol+0x10` as symbol and offset.
fn split_offset(target: &str) -> Result<(&str, u64), String> {
    let Some((symbol, offset)) = target.split_once('+') else {
        return Ok((target, 0));
    };
    let parsed = match offset.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => offset.parse(),
    };
    parsed
        .map(|offset| (symbol, offset))
        .map_err(|_| format!("`{target}`: bad offset"))
}

#[cfg(test)]
mod tests {
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
        let chosen: Vec<_> = chosen.iter().map(|c| (*c).to_owned()).collect();
        Plan::new(&input, &chosen)
    }

    fn vfsstat() -> Vec<Program> {
        vec![
            program("kprobe_read", Attach::Kprobe, "vfs_read", true),
            program("fentry_read", Attach::Fentry, "vfs_read", true),
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
            "fentry is not supported by the kernel module"
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
            plan(vfsstat(), &["fentry_read"]),
            Err(Error::Cannot(..))
        ));
        assert!(matches!(
            plan(vfsstat(), &["nosuch"]),
            Err(Error::NoSuchProgram(..))
        ));
        assert!(matches!(plan(vec![], &[]), Err(Error::Nothing(_))));
    }

    #[test]
    fn offsets_are_split_off() {
        assert_eq!(split_offset("f+0x10"), Ok(("f", 16)));
        assert_eq!(split_offset("f"), Ok(("f", 0)));
        assert!(split_offset("f+x").is_err());
    }
}

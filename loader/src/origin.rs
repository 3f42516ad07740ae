//! What runs a module, since when, and who loaded it: in words.

use std::fs;

use abi::uapi::{Engine, ModuleInfo};
use serde::Serialize;

use crate::device::text;

/// What people ask of a module first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// `interpreted`, `compiled` (in the kernel, and proven safe), `native, proven` or `native, trusted` (handed over).
    pub engine: &'static str,
    /// Why it is interpreted though it was to be compiled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `active` if programs of it are attached, else `inactive`.
    pub state: &'static str,
    /// The user that loaded it: a name, or the number of one without.
    pub owner: String,
    /// That user's number.
    pub uid: u32,
    /// The process that did, and its name if it still runs.
    pub process: Process,
    /// Seconds since then.
    #[serde(rename = "age_seconds")]
    pub age: u64,
}

/// A process that may have ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its number, which may be another's by now.
    pub pid: u32,
    /// Its name, while it runs.
    pub comm: Option<String>,
}

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

impl Origin {
    /// Of the module that the device tells so of.
    pub fn of(info: &ModuleInfo) -> Self {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Origin {
            engine: engine(info.engine),
            reason: Some(text(&info.reason)).filter(|reason| !reason.is_empty()),
            state: match info.links {
                0 => "inactive",
                _ => "active",
            },
            owner: user(&users, info.uid).unwrap_or_else(|| info.uid.to_string()),
            uid: info.uid,
            process: Process {
                pid: info.pid,
                comm: comm(info.pid, info.loaded),
            },
            age: boottime().saturating_sub(info.loaded) / SECOND,
        }
    }

    /// All of it, a line each, of the module that the device tells so of.
    pub fn lines(info: &ModuleInfo) -> String {
        let origin = Origin::of(info);
        let ModuleInfo {
            id, sandbox, fuel, ..
        } = info;
        let (by, ago, state) = (origin.by(), origin.ago(), origin.state);
        let engine = origin.engine(info);
        format!(
            "  engine    {engine}, module {id} in sandbox {sandbox}, budget {fuel} a run\n  owner     {by}, loaded {ago} ago, {state}\n"
        )
    }

    /// What runs it, how large that is, or why it is nothing better.
    pub fn engine(&self, info: &ModuleInfo) -> String {
        match (info.native, &self.reason) {
            (0, None) => self.engine.to_owned(),
            (0, Some(reason)) => format!("{} ({reason})", self.engine),
            (size, _) => format!("{} ({size} bytes of native code)", self.engine),
        }
    }

    /// How long ago it was loaded, in the largest unit that fits.
    pub fn ago(&self) -> String {
        match self.age {
            age @ 0..120 => format!("{age} s"),
            age @ 120..7200 => format!("{} min", age / 60),
            age @ 7200..172_800 => format!("{} h", age / 3600),
            age => format!("{} days", age / 86400),
        }
    }

    /// Who loaded it: `root, process 77 (wprobe)`.
    pub fn by(&self) -> String {
        let pid = self.process.pid;
        let comm = self.process.comm.as_deref();
        let process = comm.map_or_else(|| "ended".to_owned(), |comm| format!("({comm})"));
        format!("{}, process {pid} {process}", self.owner)
    }
}

/// What `ModuleInfo::engine` is called.
fn engine(number: u32) -> &'static str {
    const NAMES: [(Engine, &str); 4] = [
        (Engine::Interpreted, "interpreted"),
        (Engine::Compiled, "compiled"),
        (Engine::Proven, "native, proven"),
        (Engine::Trusted, "native, trusted"),
    ];
    let name = NAMES.iter().find(|(engine, _)| *engine as u32 == number);
    name.map_or("of a kind that this version does not know", |(_, name)| {
        name
    })
}

/// The name of user `uid` in the text of passwd(5).
fn user(users: &str, uid: u32) -> Option<String> {
    let mut lines = users.lines().map(|line| line.split(':'));
    let found = lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    found.map(str::to_owned)
}

/// The name of process `pid`, if it is the one of that number at `time`: not one that began later.
fn comm(pid: u32, time: u64) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, comm) = head.split_once('(')?;
    // The state is field 3; field 22 is when it began, in hundredths of a second.
    let began: u64 = tail.split_whitespace().nth(22 - 3)?.parse().ok()?;
    (began <= time / (SECOND / 100)).then(|| comm.to_owned())
}

fn boottime() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes nothing but the value it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_and_numbers() {
        let users = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:7::/:/bin/sh\n";
        assert_eq!(user(users, 1000).as_deref(), Some("ann"));
        assert_eq!(user(users, 0).as_deref(), Some("root"));
        assert_eq!(user(users, 7), None);
    }

    #[test]
    fn a_process_that_began_later_is_another() {
        let own = std::process::id();
        assert!(comm(own, boottime()).is_some());
        assert_eq!(comm(own, 0), None);
    }

    #[test]
    fn ages_are_said_in_the_unit_that_fits() {
        let ago = |age| {
            let origin = Origin {
                engine: "",
                reason: None,
                state: "",
                owner: "ann".to_owned(),
                uid: 1,
                process: Process { pid: 7, comm: None },
                age,
            };
            (origin.ago(), origin.by())
        };
        assert_eq!(
            ago(119),
            ("119 s".to_owned(), "ann, process 7 ended".to_owned())
        );
        for (age, expected) in [(120, "2 min"), (7200, "2 h"), (172_800, "2 days")] {
            assert_eq!(ago(age).0, expected);
        }
    }
}

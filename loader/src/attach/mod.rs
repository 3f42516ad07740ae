//! Which programs are attached, and to what.
//!
//! The policy is libbpf's: what the user named; else every program that is loaded by default and that this kernel can
//! attach, several at one place included. Some tools carry one event under two program types (a kprobe and an fentry
//! program, say) and load one of them: that is for the tool's profile to say ([`Choice::alternatives`]).
//!
//! [`plan`] decides. What user space can know of a place is found out here ([`kernel`], [`many`], [`files`], [`usdt`]); [`place`] makes an
//! attachment of it.

mod elf;
pub(crate) mod files;
pub(crate) mod kernel;
pub(crate) mod many;
mod place;
mod plan;
#[cfg(test)]
mod tests;
pub(crate) mod usdt;

use std::fmt;

use crate::device::{self, Sampling};
use crate::open::Input;

pub use plan::Plan;

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
    /// Values of `bpf_get_attach_cookie()`: name and value; `NAME@FUNCTION` is a program at one of its places. usdt programs have
    /// their own.
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
        let own = |name: &mut String| {
            *name = match at_place(name) {
                (program, Some(place)) => format!("{}@{place}", input.program(program)),
                (program, None) => input.program(program).to_owned(),
            }
        };
        self.programs.iter_mut().for_each(own);
        let sections = self.sections.iter_mut().map(|(name, _)| name);
        let cookies = self.cookies.iter_mut().map(|(name, _)| name);
        sections.chain(cookies).for_each(own);
        self
    }

    /// What is said of the cookies of one of `names`, all of one program: of which place, and the cookie.
    fn cookies_of<'c>(&'c self, names: &'c [&str]) -> impl Iterator<Item = (Option<&'c str>, u64)> {
        let of = self.cookies.iter();
        let of = of.map(|(name, cookie)| (at_place(name), *cookie));
        of.filter(|((name, _), _)| names.contains(name))
            .map(|((_, place), cookie)| (place, cookie))
    }

    /// Whether anything is said of the cookies of `program`.
    pub(crate) fn is_marked(&self, program: &str) -> bool {
        self.cookies_of(&[program]).next().is_some()
    }

    /// The cookies of the program with these `names` at each of `places`: what is said of a place goes before what is said of all. An
    /// error if anything is said of another place.
    pub(crate) fn cookies_at(&self, names: &[&str], places: &[&str]) -> Result<Vec<u64>, String> {
        let mut said = self.cookies_of(names).filter_map(|(place, _)| place);
        if let Some(place) = said.find(|place| !places.contains(place)) {
            return Err(format!("a cookie at {place}, which is none of its places"));
        }
        let at = |wanted: Option<&str>| {
            let mut cookies = self.cookies_of(names);
            cookies.find(|(place, _)| *place == wanted)
        };
        let all = at(None).map_or(0, |(_, cookie)| cookie);
        let cookies = places.iter();
        let cookies = cookies.map(|place| at(Some(place)).map_or(all, |(_, cookie)| cookie));
        Ok(cookies.collect())
    }
}

/// A program's name, and the function behind `@`.
fn at_place(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        Some((program, place)) => (program, Some(place)),
        None => (name, None),
    }
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

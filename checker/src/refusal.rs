//! Why code is refused, and where.

use core::fmt;

/// What is not proven. PROVES.md has a section on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// Bytes that are no instruction, or not where one may be.
    Decode,
    /// How the text is cut into functions, and where it is entered.
    Layout,
    /// An access that is none of what a function may touch.
    Access,
    /// A value that the function was not given, or that must not get out.
    Secret,
    /// A jump to what is no instruction of its function.
    Jump,
    /// A call that is not as its callee wants it.
    Call,
    /// Work that is not paid for.
    Budget,
    /// The stack pointer, the frame, or how deep they go.
    Stack,
    /// A division that may fault.
    Division,
    /// More than this checker follows.
    Effort,
    /// No memory to check it in.
    Memory,
    /// Whoever asked does not want to know any more.
    Interrupted,
}

/// What is not proven, without a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) rule: Rule,
    pub(crate) what: &'static str,
}

pub(crate) type Proof<T> = Result<T, Broken>;

impl Rule {
    pub(crate) const fn broken(self, what: &'static str) -> Broken {
        Broken { rule: self, what }
    }

    /// Refuses with `what`.
    pub(crate) const fn refuse<T>(self, what: &'static str) -> Proof<T> {
        Err(self.broken(what))
    }

    /// Refuses with `what` unless `holds`.
    pub(crate) const fn demand(self, holds: bool, what: &'static str) -> Proof<()> {
        match holds {
            true => Ok(()),
            false => self.refuse(what),
        }
    }
}

/// No memory.
pub(crate) const NO_MEMORY: Broken = Rule::Memory.broken("no memory");

/// Code that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which function of the text, counted from its begin; `None` if it is about all of it.
    pub function: Option<u32>,
    /// Offset in the text.
    pub offset: u32,
    /// What is not proven.
    pub rule: Rule,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.function {
            Some(function) => write!(f, "function {function}, ")?,
            None => f.write_str("native code, ")?,
        }
        write!(f, "offset {:#x}: {}", self.offset, self.what)
    }
}

impl Broken {
    pub(crate) const fn at(self, function: Option<u32>, offset: u32) -> Refusal {
        Refusal {
            function,
            offset,
            rule: self.rule,
            what: self.what,
        }
    }
}

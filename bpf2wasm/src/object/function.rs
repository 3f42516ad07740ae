//! What the front end is about: functions, and which of them are programs.

use alloc::string::String;
use alloc::vec::Vec;

use abi::sections::{Attach, ProgType};

use crate::error::Error;
use crate::isa::insn::Insn;

/// A function.
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Its section as written, `?` included.
    pub(crate) section: String,
    /// Index of the section.
    pub(crate) section_index: usize,
    /// Bytes from the section's start.
    pub(crate) offset: usize,
    /// Its code.
    pub(crate) insns: Vec<Insn>,
    /// 8-byte slots of code.
    pub(crate) slots: u32,
    /// Source lines, by increasing slot.
    pub(crate) lines: Vec<Line>,
    /// Why it cannot be translated. Matters only if a program reaches it.
    pub(crate) broken: Option<Error>,
    /// Set if it can be attached.
    pub(crate) program: Option<Program>,
    /// Set if it is a program that is not translated: why.
    pub(crate) refused: Option<Error>,
}

impl Function {
    /// Whether it is no part of others alone.
    pub(crate) fn is_program(&self) -> bool {
        self.program.is_some() || self.refused.is_some()
    }

    /// Refuses it as a program.
    pub(crate) fn refuse(&mut self, error: Error) {
        self.program = None;
        self.refused = Some(error.in_program(&self.name));
    }
}

/// What a program's section says.
pub(crate) struct Program {
    /// Program type.
    pub(crate) prog_type: ProgType,
    /// How it is attached.
    pub(crate) attach: Attach,
    /// What to.
    pub(crate) target: Option<String>,
    /// Name of the export, as far as the section gives it.
    pub(crate) export: String,
    /// Whether it is loaded without being asked.
    pub(crate) autoload: bool,
    /// Whether it may sleep.
    pub(crate) sleepable: bool,
}

/// The source line that instructions from `slot` on come from; file and text are strings of BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) slot: u32,
    pub(crate) file: u32,
    pub(crate) text: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

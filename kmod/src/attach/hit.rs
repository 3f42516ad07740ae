//! A hit: from a probe to the program's run.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::shim::{self, Hit};
use crate::cpu::Running;
use crate::module::Module;
use crate::program::{Buffer, Context, Entry, Program, Run, SyscallCall};
use crate::sandbox::Sandbox;

/// How a hit calls the program.
pub(super) enum How {
    /// With a copy of the first words of what the probe has.
    Context(usize),
    /// With a copy of as many words as there are masks, each cut by its own.
    Arguments(Box<[u64]>),
    /// With a copy of all words of a traced function, and `layout::FUNCTION_INFO`.
    Function { words: usize, info: u64 },
    /// With the syscall's arguments; which one is a string, and where it goes.
    Syscall { string: Option<(usize, Buffer)> },
}

/// What a probe's handler is given.
pub(crate) struct Attachment {
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) module: Arc<Module>,
    /// Index of the program in the module.
    pub(super) program: usize,
    pub(super) how: How,
    pub(super) cookie: u64,
}

impl Attachment {
    pub(super) fn program(&self) -> &Program {
        &self.module.programs[self.program]
    }

    /// A hit on `cpu`, with interrupts off.
    ///
    /// # Safety
    ///
    /// The hit is one of the place this attachment was made for.
    #[inline]
    pub(crate) unsafe fn hit(&self, hit: &Hit, cpu: u32) {
        let program = self.program();
        let Some(counters) = program.stats.cpu(cpu) else {
            return;
        };
        let Some(running) = Running::begin(cpu) else {
            return counters.miss();
        };
        if program.stats.is_disabled() {
            return;
        }
        let run = Run {
            running: &running,
            stats: &program.stats,
            counters,
            budget: self.module.budget,
            context: core::ptr::from_ref(hit) as u64,
            cookie: self.cookie,
        };
        match &program.entry {
            Entry::Context(funcs) => {
                let (Some(shared), Some(func)) = (&self.sandbox.shared, funcs.get(cpu as usize))
                else {
                    return;
                };
                // SAFETY: the caller's promise.
                let context = unsafe { self.context(hit) };
                let slot = &shared.cpus[cpu as usize].slot;
                run.with_context(slot, &shared.space, *func, &context);
            }
            Entry::Arguments {
                func,
                params,
                results,
            } => {
                let (Some(own), How::Syscall { string }) = (&self.module.own, &self.how) else {
                    return;
                };
                // SAFETY: a syscall's probe hands over registers.
                let Some(args) = (unsafe { shim::syscall_args(hit.regs) }) else {
                    return counters.miss();
                };
                let call = SyscallCall {
                    func: *func,
                    params,
                    results: *results,
                    string: *string,
                };
                run.with_arguments(&own.slot, &call, args);
            }
        }
    }

    /// The context of a hit.
    ///
    /// # Safety
    ///
    /// As [`Attachment::hit`].
    unsafe fn context<'a>(&'a self, hit: &'a Hit) -> Context<'a> {
        let (count, masks, function) = match &self.how {
            How::Context(words) => (*words, None, None),
            How::Arguments(masks) => (masks.len(), Some(&**masks), None),
            How::Function { words, info } => (*words, None, Some(*info)),
            How::Syscall { .. } => (0, None, None),
        };
        let count = count.min(self.program().context);
        Context {
            // SAFETY: the place's probe hands over that many words at least (`place::context`).
            words: unsafe { core::slice::from_raw_parts(hit.words, count) },
            masks,
            function,
        }
    }
}

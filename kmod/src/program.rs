//! A program: an export that can be attached, and how a hit runs it.

use alloc::boxed::Box;
use alloc::string::String;

use abi::traps::Trap;
use abi::uapi::SYSCALL_ARGS;
use helpers::host::Errno;
use helpers::work::Work;
use wasmi::{Error, Func, Memory, Store, TrapCode, Val, ValType};

use crate::attach::Hit;
use crate::cpu::Running;
use crate::engine::Function;
use crate::engine::slot::{RunState, Slot};
use crate::engine::trap::{self, Stop};
use crate::services;
use crate::stats::{Counters, Stats, Timing};

/// How the export is called.
pub(crate) enum Entry {
    /// Translated: context pointer in, `r0` out; one function for each CPU.
    Context(Box<[Function]>),
    /// Hand-written: a syscall's arguments; one function, in the module's own store.
    Arguments {
        func: Func,
        params: Box<[ValType]>,
        results: usize,
    },
}

/// A program of a module.
pub(crate) struct Program {
    /// The export's name.
    pub(crate) name: String,
    pub(crate) entry: Entry,
    /// Words of the context that it reads at most.
    pub(crate) context: usize,
    pub(crate) stats: Stats,
}

/// What limits every run of a module.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) fuel: u64,
    /// Traps of one program after which it is disabled; 0: never.
    pub(crate) trap_limit: u32,
}

/// One run about to happen: evidence that this CPU may, and where it is counted.
pub(crate) struct Run<'a> {
    pub(crate) running: &'a Running,
    pub(crate) stats: &'a Stats,
    pub(crate) counters: &'a Counters,
    pub(crate) budget: Budget,
    pub(crate) hit: Hit,
}

impl Run<'_> {
    /// Runs a hand-written program on a syscall's arguments, and counts how it went. The slot is its module's only one.
    pub(crate) fn with_arguments(
        &self,
        slot: &Slot,
        call: &SyscallCall<'_>,
        args: [u64; SYSCALL_ARGS],
    ) {
        let Some((mut store, fuel)) = slot.wait(self.budget.fuel) else {
            return self.counters.miss();
        };
        self.running.using(slot, Some(self.stats));
        let began = Timing::begin();
        let state = store.data_mut();
        state.hit = self.hit;
        self.counters.run();
        if let Err(stop) = call.run(&mut store, fuel, args) {
            let (trap, site) = trap::reason(store.data_mut(), &Stop::from(stop));
            self.stats
                .trap(self.counters, trap, site, self.budget.trap_limit);
        }
        self.counters.end(began);
    }
}

/// Where strings go: `buffer` and, if exported, `buffer_size` of the hand-written format.
#[derive(Clone, Copy)]
pub(crate) struct Buffer {
    pub(crate) memory: Memory,
    /// Offset of the buffer.
    pub(crate) address: u32,
    /// Offset of the 32-bit number that holds its size.
    pub(crate) size_at: Option<u32>,
}

/// Bytes of a buffer whose size is not exported.
const BUFFER_SIZE: u32 = 256;

impl Buffer {
    /// Copies the string at the user's `address` in, cut to fit; what cannot be read is empty. The run pays for all that may be
    /// copied.
    fn fill(&self, store: &mut Store<RunState>, address: u64, work: &Work) -> Result<(), Trap> {
        let memory = self.memory.data_mut(store);
        let size = self.size_at.map_or(BUFFER_SIZE, |at| {
            let bytes = memory.get(at as usize..).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
        });
        let start = (self.address as usize).min(memory.len());
        let end = start.saturating_add(size as usize).min(memory.len());
        let buffer = &mut memory[start..end];
        work.bytes(buffer.len() as u64)?;
        let copied = work.may_fault(|| {
            let (to, size) = (buffer.as_mut_ptr(), buffer.len());
            // SAFETY: the buffer is valid for writes of its length.
            unsafe { services::read_str(services::From::User, to, address, size) }.map_err(Errno)
        })?;
        if copied.is_err()
            && let Some(first) = buffer.first_mut()
        {
            *first = 0;
        }
        Ok(())
    }
}

/// How a syscall's arguments become a function's.
pub(crate) struct SyscallCall<'a> {
    pub(crate) func: Func,
    pub(crate) params: &'a [ValType],
    pub(crate) results: usize,
    /// Which argument is a string, and where it goes.
    pub(crate) string: Option<(usize, Buffer)>,
}

impl SyscallCall<'_> {
    fn run(
        &self,
        store: &mut Store<RunState>,
        fuel: u64,
        mut args: [u64; SYSCALL_ARGS],
    ) -> Result<(), Error> {
        let work = Work::new(fuel);
        if let Some((index, buffer)) = &self.string
            && let Some(arg) = args.get_mut(*index)
        {
            let filled = buffer.fill(store, *arg, &work);
            filled.map_err(|_| TrapCode::OutOfFuel)?;
            *arg = buffer.address.into();
        }
        store.set_fuel(work.left())?;
        let mut values = [const { Val::I32(0) }; SYSCALL_ARGS];
        for ((value, ty), arg) in values.iter_mut().zip(self.params).zip(args) {
            *value = match ty {
                ValType::I64 => Val::I64(arg as i64),
                _ => Val::I32(arg as i32),
            };
        }
        let mut result = [const { Val::I32(0) }; 1];
        let count = self.params.len().min(SYSCALL_ARGS);
        self.func
            .call(store, &values[..count], &mut result[..self.results.min(1)])
    }
}

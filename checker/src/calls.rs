//! Calls: what callees want, and what they leave.

use alloc::vec::Vec;

use abi::native::{Image, is_reading};

use crate::insn::{R8, R9, RAX, RBP, RCX, RDI, RDX, REGISTERS, RSI, Reg};
use crate::layout::{Layout, push};
use crate::refusal::{Broken, NO_MEMORY, Proof, Refusal, Rule};
use crate::state::Flags;
use crate::step::Walk;
use crate::value::Value;

/// Registers of the numbers that a function is called with; rdi is the vm's.
pub(crate) const ARGUMENTS: [Reg; 5] = [RSI, RDX, RCX, R8, R9];

/// Registers that the kernel's functions leave as they are.
const KEPT: [Reg; 6] = [3, RBP, 12, 13, 14, 15];

/// What an import is to its caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Import {
    params: u8,
    /// It neither reads nor changes the budget.
    is_reading: bool,
}

pub(crate) fn imports(image: &Image<'_>) -> Result<Vec<Import>, Broken> {
    let mut imports = Vec::new();
    for import in image.imports() {
        let params = u8::try_from(import.params).unwrap_or(u8::MAX);
        let is_reading = is_reading(import.module, import.name);
        push(&mut imports, Import { params, is_reading })?;
    }
    Ok(imports)
}

/// A call of a function of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnCall {
    pub(crate) from: u32,
    pub(crate) at: u32,
    pub(crate) to: u32,
    /// Of each argument: `None`, it is none; else which of the caller's it may be.
    pub(crate) given: [Option<u8>; ARGUMENTS.len()],
}

/// What is known of a function when it was walked through.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Summary {
    /// Arguments that it reads, a bit each.
    pub(crate) reads: u8,
}

impl Walk {
    /// What all calls want: the vm, and the stack as System V has it; and a frame, if the callee `comes_back`.
    fn convention(&self, comes_back: bool) -> Proof<()> {
        let has_vm = self.state.register(RDI) == Value::Vm;
        Rule::Call.demand(has_vm, "a call without the vm")?;
        let is_aligned = self.state.sp().rem_euclid(16) == 8;
        Rule::Stack.demand(is_aligned, "a call with a stack that is not aligned")?;
        if !comes_back {
            return Ok(());
        }
        let has_frame = self.state.register(RBP) == Value::Frame(-8)
            && self.state.cell(REGISTERS) == Value::Saved;
        Rule::Stack.demand(has_frame, "a call without a frame pointer")
    }

    /// What a function that is called has to have done before it goes on to another or back.
    fn is_entered(&self) -> Proof<()> {
        if !self.is_called {
            return Ok(());
        }
        let limited = self.state.limited;
        let is_limited = limited.is_some_and(|limited| limited <= self.state.sp());
        Rule::Stack.demand(is_limited, "the stack's limit was not looked at")
    }

    fn is_stored(&self) -> Proof<()> {
        let find = "what is left of the budget is not where a callee finds it";
        Rule::Budget.demand(self.state.stored, find)
    }

    /// `call` of the function that ends the run.
    pub(crate) fn trap(&mut self) -> Proof<()> {
        self.convention(false)?;
        for argument in [RSI, RDX] {
            self.used(self.state.register(argument))?;
        }
        Ok(())
    }

    /// `jmp` to the function that ends each.
    pub(crate) fn leave(&mut self) -> Proof<()> {
        self.is_entered()?;
        self.is_stored()?;
        let is_whole = self.state.sp() == 0 && self.state.register(RBP) == Value::Saved;
        Rule::Stack.demand(is_whole, "a return with another stack than at the entry")?;
        self.used(self.state.register(RDI)).map(drop)
    }

    pub(crate) fn call_import(&mut self, import: Import) -> Proof<()> {
        self.convention(true)?;
        self.is_entered()?;
        for argument in ARGUMENTS.into_iter().take(import.params.into()) {
            self.used(self.state.register(argument))?;
        }
        if !import.is_reading {
            self.is_stored()?;
            self.state.replace(Value::Fuel, Value::Undefined);
        }
        self.called(&KEPT)
    }

    /// `call` of the function at `to`.
    pub(crate) fn call_own(&mut self, at: u32, to: u32) -> Proof<OwnCall> {
        self.convention(true)?;
        self.is_entered()?;
        self.is_stored()?;
        let given = ARGUMENTS.map(|argument| match self.state.register(argument) {
            Value::Const(_) => Some(0),
            Value::Number(number) => Some(number.arguments),
            _ => None,
        });
        self.state.replace(Value::Fuel, Value::Undefined);
        self.called(&[RBP])?;
        let from = self.function;
        Ok(OwnCall {
            from,
            at,
            to,
            given,
        })
    }

    /// Registers after a call that leaves only `kept`, and a result.
    fn called(&mut self, kept: &[Reg]) -> Proof<()> {
        for register in 0..REGISTERS as Reg {
            if !kept.contains(&register) {
                self.state.set_cell(register.into(), Value::Undefined);
            }
        }
        self.state.flags = Flags::Undefined;
        let result = self.number(u64::MAX);
        self.set(RAX, result)
    }
}

/// How often what functions read is passed on to their callers, until it is the same.
const ROUNDS: u32 = 32;

/// Whether each function is given what it reads.
pub(crate) fn arguments(
    layout: &Layout<'_>,
    calls: &[OwnCall],
    summaries: &mut [Summary],
) -> Result<(), Refusal> {
    for _ in 0..ROUNDS {
        if !pass_on(layout, calls, summaries)? {
            return entries(layout, summaries);
        }
    }
    let what = "arguments that are passed on too far";
    Err(Rule::Effort.broken(what).at(None, 0))
}

/// Whether somebody reads more than was known.
fn pass_on(
    layout: &Layout<'_>,
    calls: &[OwnCall],
    summaries: &mut [Summary],
) -> Result<bool, Refusal> {
    let mut is_more = false;
    for call in calls {
        let callee = layout.function(call.to).and_then(|to| summaries.get(to));
        let reads = callee.copied().unwrap_or_default().reads;
        let mut passed = 0;
        for (argument, given) in call.given.iter().enumerate() {
            match (reads >> argument & 1 != 0, given) {
                (false, _) => {}
                (true, Some(from)) => passed |= from,
                (true, None) => {
                    let what = "a call without an argument that the callee reads";
                    return Err(Rule::Call.broken(what).at(Some(call.from), call.at));
                }
            }
        }
        if let Some(caller) = summaries.get_mut(call.from as usize) {
            is_more |= caller.reads | passed != caller.reads;
            caller.reads |= passed;
        }
    }
    Ok(is_more)
}

fn entries(layout: &Layout<'_>, summaries: &[Summary]) -> Result<(), Refusal> {
    for (index, (function, summary)) in layout.functions.iter().zip(summaries).enumerate() {
        let Some(given) = function.given else {
            continue;
        };
        if summary.reads >> given != 0 {
            let what = "an entry reads arguments that it is not given";
            let refused = Rule::Call.broken(what);
            return Err(refused.at(Some(index as u32), function.start));
        }
    }
    Ok(())
}

/// Room for a summary of each function.
pub(crate) fn summaries(count: usize) -> Result<Vec<Summary>, Broken> {
    let mut summaries = Vec::new();
    summaries.try_reserve_exact(count).map_err(|_| NO_MEMORY)?;
    summaries.resize(count, Summary::default());
    Ok(summaries)
}

//! Calls.

use core::mem::offset_of;

use abi::native::{IMPORTS, TRAP, Vm};

use super::Emitter;
use super::entry::{ARGUMENTS, Move};
use super::machine::{R15, RAX, RDI};
use super::value::{Source, Value};
use crate::module::Kind;
use crate::operator::Wide;
use crate::{Made, Refused};

impl Emitter<'_, '_, '_> {
    pub(super) fn call(&mut self, index: u32) -> Made<()> {
        let signature = self.module.signature(index)?;
        let params = signature.params();
        let Some(import) = self.module.import_of(index) else {
            return self.call_own(index, params, signature.result);
        };
        let is_indifferent = import.is_indifferent;
        match import.kind {
            Kind::Cpu => {
                let to = match self.next_target(0)? {
                    Some(r) => r,
                    None => self.temp()?,
                };
                let m = self.vm_at(offset_of!(Vm, cpu));
                self.code.load(true, to, m);
                self.push_reg(to, true, u64::MAX)
            }
            Kind::Atomic(op, bytes) => self.atomic(index, op, bytes),
            Kind::Trap => self.call_trap(params),
            kind => self.call_runtime(index, params, kind == Kind::Reading, is_indifferent),
        }
    }

    /// Takes so many arguments off the stack, and lets nothing else on it depend on registers.
    fn take_arguments(&mut self, params: usize, is_indifferent: bool) -> Made<[Option<Value>; 5]> {
        let mut args = [None; 5];
        let places = args.get_mut(..params);
        for place in places
            .ok_or(Refused::Compiler("arguments"))?
            .iter_mut()
            .rev()
        {
            let value = self.pop()?;
            self.context_escapes |= value.context && !is_indifferent;
            *place = Some(value);
        }
        self.flush_all()?;
        Ok(args)
    }

    fn release_arguments(&mut self, args: &[Option<Value>; 5]) {
        for value in args.iter().flatten() {
            self.release(value);
        }
    }

    /// Arguments to where they are expected.
    pub(super) fn arguments<'v>(&mut self, args: impl Iterator<Item = &'v Value> + Clone) {
        let mut moves = [None; 5];
        for ((value, to), entry) in args.clone().zip(ARGUMENTS).zip(&mut moves) {
            let from = match value.source {
                Source::Placed(by) if value.wide => self.anchor(by, value.via),
                _ => self.register_of(value).map(|r| (r, value.add)),
            };
            *entry = from.map(|(from, add)| Move {
                to,
                from,
                wide: value.wide || value.is_plain(),
                add,
            });
        }
        self.move_at_once(moves);
        for ((value, to), entry) in args.zip(ARGUMENTS).zip(&moves) {
            if entry.is_none() {
                self.put_quietly(value, to);
            }
        }
    }

    fn call_runtime(
        &mut self,
        index: u32,
        params: usize,
        is_reading: bool,
        is_indifferent: bool,
    ) -> Made<()> {
        let args = self.take_arguments(params, is_indifferent)?;
        if !is_reading {
            self.store_fuel();
        }
        self.arguments(args.iter().flatten());
        self.code.mov(true, RDI, R15);
        let at = self.code.call();
        self.calls.push((at, IMPORTS + index));
        self.release_arguments(&args);
        if !is_reading {
            self.load_fuel();
        }
        self.take(RAX);
        self.push_reg(RAX, true, u64::MAX)
    }

    /// `env.trap`, which does not come back.
    fn call_trap(&mut self, params: usize) -> Made<()> {
        let args = self.take_arguments(params, false)?;
        self.store_fuel();
        self.arguments(args.iter().flatten());
        self.code.mov(true, RDI, R15);
        let at = self.code.call();
        self.calls.push((at, TRAP));
        self.code.trap();
        self.release_arguments(&args);
        self.dead = Some(0);
        Ok(())
    }

    /// A function of the module, which saves nothing but where it returns to.
    fn call_own(&mut self, index: u32, params: usize, result: Option<Wide>) -> Made<()> {
        let args = self.take_arguments(params, false)?;
        self.store_fuel();
        self.arguments(args.iter().flatten());
        self.code.mov(true, RDI, R15);
        let at = self.code.call();
        let own = index.checked_sub(self.module.imports.len() as u32);
        self.own.push((at, own.ok_or(Refused::Compiler("calls"))?));
        self.release_arguments(&args);
        let vm = self.slot(0);
        self.code.load(true, R15, vm);
        self.load_pinned();
        if let Some(wide) = result {
            self.take(RAX);
            if !wide {
                self.code.mov(false, RAX, RAX);
            }
            self.push_reg(RAX, wide, u64::MAX)?;
        }
        Ok(())
    }
}

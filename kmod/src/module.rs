//! A loaded module: what is known of it, its programs, the string it reports.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::uapi::{self, Engine};
use helpers::host::Errno;
use wasmi::{Memory, Store, TypedFunc};

use crate::engine::slot::{RunState, Slot};
use crate::engine::trap::{self, Stop};
use crate::program::{Budget, Buffer, Program};
use crate::registry::{self, Object};
use crate::sandbox::Sandbox;
use crate::user::{self, Call};
use crate::{attach, cpu, services};

/// Bytes of a report at most.
const MAX_REPORT: u64 = 64 << 10;

/// What an exclusive module has for itself.
pub(crate) struct Own {
    pub(crate) slot: Slot,
    pub(crate) buffer: Option<Buffer>,
    /// Where the report is read from.
    pub(crate) memory: Option<Memory>,
    pub(crate) report: Option<TypedFunc<(), i32>>,
}

/// A loaded module.
pub(crate) struct Module {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) wasm: Vec<u8>,
    /// Bytes of native code; 0: interpreted.
    pub(crate) native: usize,
    pub(crate) engine: Engine,
    /// Why it is interpreted though it was to be compiled; else empty.
    pub(crate) reason: String,
    pub(crate) budget: Budget,
    pub(crate) programs: Vec<Program>,
    /// The first one's number in the sandbox; 0: they have none.
    pub(crate) first_program: u32,
    /// None: it runs in its sandbox's stores.
    pub(crate) own: Option<Own>,
    /// When it was loaded, and by whom.
    pub(crate) origin: Origin,
}

/// Where an object comes from.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// Nanoseconds of the clock that also runs while the machine sleeps.
    pub(crate) time: u64,
    pub(crate) uid: u32,
    pub(crate) pid: u32,
}

impl Origin {
    /// Now, by the process whose request is under way.
    pub(crate) fn here() -> Self {
        Self {
            time: services::boottime(),
            uid: services::uid_gid() as u32,
            pid: (services::pid_tgid() >> 32) as u32,
        }
    }
}

/// Answers an ioctl of a module's descriptor.
pub(crate) fn ioctl(
    sandbox: &Arc<Sandbox>,
    module: &Arc<Module>,
    call: &Call,
) -> Result<Option<Object>, Errno> {
    if call.is(uapi::LINK_CREATE) {
        return attach::create(sandbox, module, call).map(Some);
    }
    if call.is(uapi::REPORT) {
        return module.report(call).map(|()| None);
    }
    if call.is(uapi::PROGRAM_INFO) {
        return module.program_info(module, call).map(|()| None);
    }
    if call.is(uapi::MODULE_INFO) {
        let object = Object::Module(sandbox.clone(), module.clone());
        call.write(&uapi::ModuleInfo {
            id: module.id,
            sandbox: sandbox.id,
            name: user::field(&module.name),
            wasm_size: module.wasm.len() as u64,
            fuel: module.budget.fuel,
            trap_limit: module.budget.trap_limit,
            programs: module.programs.len() as u32,
            links: registry::links(module)?.len() as u32,
            pinned: registry::is_pinned(&object)?.into(),
            exclusive: module.own.is_some().into(),
            reports: module
                .own
                .as_ref()
                .is_some_and(|own| own.report.is_some())
                .into(),
            native: module.native as u64,
            loaded: module.origin.time,
            uid: module.origin.uid,
            pid: module.origin.pid,
            engine: module.engine as u32,
            reserved: 0,
            reason: user::field(&module.reason),
        })?;
        return Ok(None);
    }
    Err(user::ENOTTY)
}

impl Module {
    /// `read(2)`: up to `size` bytes of the wasm, from `position` on.
    pub(crate) fn read(&self, to: u64, size: u64, position: u64) -> Result<usize, Errno> {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = self.wasm.get(start..).unwrap_or_default();
        let part = &rest[..rest.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
        user::copy_out(to, part)?;
        Ok(part.len())
    }

    fn program_info(&self, this: &Arc<Self>, call: &Call) -> Result<(), Errno> {
        let args: uapi::ProgramInfo = call.read()?;
        let index = args.index as usize;
        let program = self.programs.get(index).ok_or(Errno::ENOENT)?;
        let totals = program.stats.totals();
        let missed: u64 = registry::links(this)?
            .iter()
            .filter(|link| link.is_of_program(index))
            .map(|link| link.missed())
            .sum();
        let (last_trap, last_site) = program.stats.last_trap();
        call.write(&uapi::ProgramInfo {
            index: args.index,
            disabled: program.stats.is_disabled().into(),
            name: user::field(&program.name),
            runs: totals.runs,
            misses: totals.misses + missed,
            traps: totals.traps,
            last_trap,
            last_site,
            nanoseconds: totals.nanoseconds,
            number: match self.first_program {
                0 => 0,
                first => first + args.index,
            },
            reserved: 0,
            timed: totals.timed,
        })
    }

    /// `REPORT`: runs the export, copies the string it points to.
    fn report(&self, call: &Call) -> Result<(), Errno> {
        let mut args: uapi::Report = call.read()?;
        let own = self.own.as_ref().ok_or(Errno::EOPNOTSUPP)?;
        let (Some(report), Some(memory)) = (own.report, own.memory) else {
            return Err(Errno::EOPNOTSUPP);
        };
        let mut text = user::zeroes(args.size.min(MAX_REPORT) as usize)?;
        let room = text.len().checked_sub(1).ok_or(Errno::EINVAL)?;
        let length = cpu::quietly(|running| {
            let mut store = own.slot.lock().ok_or(Errno(5))?;
            running.using(&own.slot, None);
            let address = self.call_report(&mut store, report)?;
            let bytes = memory
                .data(&*store)
                .get(address as u32 as usize..)
                .ok_or(Errno::EFAULT)?;
            let length = bytes
                .iter()
                .take(room)
                .take_while(|byte| **byte != 0)
                .count();
            text[..length].copy_from_slice(&bytes[..length]);
            Ok(length)
        })?;
        user::copy_out(args.text, &text[..=length])?;
        args.size = length as u64;
        call.write(&args)
    }

    fn call_report(
        &self,
        store: &mut Store<RunState>,
        report: TypedFunc<(), i32>,
    ) -> Result<i32, Errno> {
        let result = store
            .set_fuel(self.budget.fuel)
            .and_then(|()| report.call(&mut *store, ()));
        result.map_err(|error| {
            let stop = Stop::Engine(error);
            Errno(trap::reason(store.data_mut(), &stop).0.errno())
        })
    }
}

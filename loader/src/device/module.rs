//! A loaded module and its programs.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use abi::uapi::{
    self, AttachPoint, LINK_ARGS, LINK_PERIOD, LinkCreate, ModuleInfo, ProgramInfo, Report,
};

use super::ioctl::{Log, bytes, call, text, zeroed};
use super::{Error, Link, Result, owned};

/// What to load.
#[derive(Clone, Copy, Debug)]
pub struct ModuleSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its bytes.
    pub wasm: &'a [u8],
    /// Traps of one program after which it is disabled; 0: never.
    pub trap_limit: u32,
    /// Execution budget of one run; 0: the device's default.
    pub fuel: u64,
    /// What runs it.
    pub native: Code<'a>,
}

/// What runs a module in place of the interpreter.
#[derive(Clone, Copy, Debug)]
pub enum Code<'a> {
    /// Nothing: it is interpreted.
    Interpreted,
    /// This native code of it.
    Image(&'a [u8]),
    /// What the device makes of it.
    Compile,
    /// The same, if the device makes something of it.
    CompileOrInterpret,
}

/// What to attach.
#[derive(Clone, Debug)]
pub struct LinkSpec {
    /// The export.
    pub program: String,
    /// The symbol, tracepoint, event or path.
    pub target: String,
    /// Where on the target.
    pub attach: AttachPoint,
    /// Bytes of context to copy in at a hit.
    pub context: u32,
    /// Bytes from the start of the target.
    pub offset: u64,
    /// Value of `bpf_get_attach_cookie()`.
    pub cookie: u64,
    /// Of each argument: its bytes, or `ARG_*` for syscalls.
    pub args: [u8; LINK_ARGS],
    /// For uprobes: offset of a counter to keep above 0; 0: none.
    pub semaphore: u64,
    /// For uprobes: the process whose hits count; 0: any.
    pub pid: u32,
    /// For perf events, and only for them.
    pub sampling: Option<Sampling>,
    /// Of kprobes and uprobes: places of which each has a cookie of its own, in the place of offset and cookie; none where these say it.
    pub places: Vec<LinkPlace>,
}

/// One of the places of a link that has many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkPlace {
    /// Where the function begins in the kernel, or its offset in the file.
    pub at: u64,
    /// Value of `bpf_get_attach_cookie()` there.
    pub cookie: u64,
}

impl LinkSpec {
    /// At the start of `target`, with no context.
    pub fn new(program: &str, target: &str, attach: AttachPoint) -> Self {
        LinkSpec {
            program: program.to_owned(),
            target: target.to_owned(),
            attach,
            context: 0,
            offset: 0,
            cookie: 0,
            args: [0; LINK_ARGS],
            semaphore: 0,
            pid: 0,
            sampling: None,
            places: Vec::new(),
        }
    }
}

/// What a perf event samples, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// `perf_event_attr.type`.
    pub event_type: u32,
    /// `perf_event_attr.config`.
    pub event: u64,
    /// How often.
    pub rate: Rate,
}

/// How often a perf event is sampled.
#[derive(Clone, Copy, Debug)]
pub enum Rate {
    /// So many times a second.
    Frequency(u64),
    /// Once every so many events.
    Period(u64),
}

impl Default for Sampling {
    /// The CPU's clock (`PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_CPU_CLOCK`), 99 times a second: not in step with anything.
    fn default() -> Self {
        Sampling {
            event_type: 1,
            event: 0,
            rate: Rate::Frequency(99),
        }
    }
}

/// A module.
#[derive(Debug)]
pub struct Module(pub(super) OwnedFd);

/// One program of a module, as the device counts it.
pub type Program = ProgramInfo;

impl Module {
    /// Attaches a program.
    pub fn attach(&self, spec: &LinkSpec) -> Result<Link> {
        let mut log = Log::new();
        let (event_type, event, sample, flags) = match spec.sampling {
            None => (0, 0, 0, 0),
            Some(sampling) => match sampling.rate {
                Rate::Frequency(rate) => (sampling.event_type, sampling.event, rate, 0),
                Rate::Period(period) => (sampling.event_type, sampling.event, period, LINK_PERIOD),
            },
        };
        let places: Vec<u64> = spec.places.iter().map(|place| place.at).collect();
        let cookies: Vec<u64> = spec.places.iter().map(|place| place.cookie).collect();
        let address = |numbers: &[u64]| match numbers {
            [] => 0,
            numbers => numbers.as_ptr() as u64,
        };
        let mut arg = LinkCreate {
            program: bytes(&spec.program)?,
            target: bytes(&spec.target)?,
            attach: spec.attach as u32,
            context: spec.context,
            offset: spec.offset,
            cookie: spec.cookie,
            args: spec.args,
            semaphore: spec.semaphore,
            pid: spec.pid,
            event_type,
            event,
            sample,
            flags,
            places: address(&places),
            place_count: places.len() as u64,
            cookies: address(&cookies),
            log: log.address(),
            log_size: log.size(),
        };
        let about = format!("program {} at {}", spec.program, spec.target);
        let fd = call(&self.0, "LINK_CREATE", uapi::LINK_CREATE, &mut arg, &about);
        Ok(Link(owned(log.explain(fd)?)))
    }

    /// What the device says about it.
    pub fn info(&self) -> Result<ModuleInfo> {
        let mut info: ModuleInfo = zeroed();
        call(
            &self.0,
            "MODULE_INFO",
            uapi::MODULE_INFO,
            &mut info,
            "module",
        )?;
        Ok(info)
    }

    /// Every program and its counts.
    pub fn programs(&self) -> Result<Vec<Program>> {
        let mut programs = Vec::new();
        loop {
            let mut info = ProgramInfo {
                index: programs.len() as u32,
                ..zeroed()
            };
            match call(
                &self.0,
                "PROGRAM_INFO",
                uapi::PROGRAM_INFO,
                &mut info,
                "module",
            ) {
                Ok(_) => programs.push(info),
                Err(e) if e.errno() == Some(libc::ENOENT) => return Ok(programs),
                Err(e) => return Err(e),
            }
        }
    }

    /// Runs its `report` export.
    pub fn report(&self) -> Result<String> {
        let mut buffer = vec![0u8; 64 << 10];
        let mut arg = Report {
            text: buffer.as_mut_ptr() as u64,
            size: buffer.len() as u64,
        };
        call(&self.0, "REPORT", uapi::REPORT, &mut arg, "report")?;
        Ok(text(&buffer))
    }

    /// Its bytes, as loaded.
    pub fn wasm(&self) -> Result<Vec<u8>> {
        let read = || {
            let mut bytes = Vec::new();
            File::from(self.0.try_clone()?)
                .read_to_end(&mut bytes)
                .map(|_| bytes)
        };
        read().map_err(|source| Error::Request {
            ioctl: "read",
            about: "module".to_owned(),
            source,
            log: String::new(),
        })
    }
}

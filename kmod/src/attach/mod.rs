//! A link: one attachment of one program, and what happens at a hit.
//!
//! [`place`] says what each attach point gives, [`hit`] is the data path, [`shim`] the C half's functions.
//!
//! # Invariants
//!
//! An [`Attachment`] does not move and outlives its probe: a link is detached, which waits for handlers that run, before anything of
//! it is freed. It is detached when its last [`Holder`] goes, so when close(2) returns its program has run for the last time, whoever
//! else still looks at the link.

mod error;
mod hit;
mod place;
mod places;
mod shim;
mod syscall;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::uapi::{self, AttachPoint, Kind, LinkCreate, Resource};
use helpers::host::Errno;

use crate::limits::Charge;
use crate::module::Module;
use crate::program::Entry;
use crate::registry::{self, Object};
use crate::sandbox::Sandbox;
use crate::services;
use crate::user::{self, Call, Log, refused};
use error::LinkError;
use hit::How;
pub(crate) use hit::{Attachment, Ready};
use place::Names;
use places::Cookies;
pub(crate) use shim::Hit;
use shim::Probe;

/// A link. The probe is the first to be dropped: it points to names and attachment.
pub(crate) struct Link {
    /// Descriptors and pins that hold it; 0: it is detached, or is being so.
    holders: AtomicU32,
    probe: Probe,
    attachment: Box<Attachment>,
    _names: Names,
    pub(crate) id: u32,
    target: String,
    attach: AttachPoint,
    offset: u64,
    /// Bytes of kernel memory.
    host: u64,
    /// How many places it has.
    places: u64,
}

/// What keeps a link attached: a descriptor's or a pin's.
pub(crate) struct Holder(Arc<Link>);

impl Holder {
    /// One more of a link that is held; `None` if it is not, any more.
    pub(crate) fn again(link: Arc<Link>) -> Option<Self> {
        let one_more = |holders: u32| (holders != 0).then_some(holders + 1);
        match link.holders.fetch_update(Relaxed, Relaxed, one_more) {
            Ok(_) => Some(Self(link)),
            Err(_) => None,
        }
    }

    /// The link itself.
    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0
    }
}

impl core::ops::Deref for Holder {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.0
    }
}

impl Clone for Holder {
    fn clone(&self) -> Self {
        self.0.holders.fetch_add(1, Relaxed);
        Self(self.0.clone())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if self.0.holders.fetch_sub(1, Relaxed) == 1 {
            self.0.probe.detach();
            let program = self.0.attachment.program();
            program.stats.add_missed(self.0.probe.missed());
        }
    }
}

/// `LINK_CREATE`.
pub(crate) fn create(
    sandbox: &Arc<Sandbox>,
    module: &Arc<Module>,
    call: &Call,
) -> Result<Object, Errno> {
    let args: LinkCreate = call.read()?;
    let log = Log::new(args.log, args.log_size);
    let program = user::text(&args.program)?;
    let target = user::text(&args.target)?;
    let attach = place::attach_point(args.attach).ok_or(Errno::EINVAL)?;
    if args.flags & !uapi::LINK_PERIOD != 0 {
        return Err(Errno::EINVAL);
    }
    may_attach(attach)?;
    let (places, cookies) = places::of(attach, &args)?;
    let account = &sandbox.account;
    let host = place::host_bytes(attach, places.len().max(1));
    let charge = |resource, amount| {
        let charged = account.charge(resource, amount);
        charged.map_err(|exceeded| refused(log, &exceeded))
    };
    let charges = [charge(Resource::Links, 1)?, charge(Resource::Host, host)?];
    let id = registry::new_id(Kind::Link)?;
    let link = prepare(sandbox, module, &args, cookies, attach, (&program, &target))
        .and_then(|attachment| {
            Link::attach((id, host), attachment, attach, target, (&args, &places))
        })
        .map_err(|error| refused(log, &error))?;
    charges.into_iter().for_each(Charge::keep);
    let link = Object::Link(Holder(Arc::new(link)));
    registry::add(link)
}

/// Whether lockdown lets a probe be put there, which is asked as the kernel's own interfaces do.
fn may_attach(attach: AttachPoint) -> Result<(), Errno> {
    use AttachPoint::{Fentry, Fexit, FmodRet, Kprobe, KprobeSession, Kretprobe, PerfEvent};
    match attach {
        PerfEvent => services::may_attach(true),
        Kprobe | Kretprobe | KprobeSession | Fentry | Fexit | FmodRet => {
            services::may_attach(false)
        }
        AttachPoint::SyscallPre | AttachPoint::SyscallPost => services::may_attach(false),
        _ => Ok(()),
    }
}

/// Checks that `program` can run at `attach` of `target`.
fn prepare(
    sandbox: &Arc<Sandbox>,
    module: &Arc<Module>,
    args: &LinkCreate,
    cookies: Cookies,
    attach: AttachPoint,
    (program, target): (&str, &str),
) -> Result<Attachment, LinkError> {
    let index = module
        .programs
        .iter()
        .position(|p| p.name == program)
        .ok_or_else(|| LinkError::NoProgram(program.into()))?;
    let wrong = |why| LinkError::WrongProgram {
        program: program.into(),
        why,
    };
    let is_syscall = matches!(attach, AttachPoint::SyscallPre | AttachPoint::SyscallPost);
    let how = match (&module.programs[index].entry, is_syscall) {
        (Entry::Context(_), false) => place::context(attach, args, target)?,
        (Entry::Arguments { params, .. }, true) => How::Syscall {
            string: syscall::string(module, program, params.len(), &args.args)?,
        },
        (Entry::Context(_), true) => {
            return Err(wrong("takes a context, a syscall has arguments"));
        }
        (Entry::Arguments { .. }, false) => {
            return Err(wrong(
                "its module has its own memory, so it only attaches to syscalls",
            ));
        }
    };
    let (sandbox, module) = (sandbox.clone(), module.clone());
    let attachment = Attachment::new(sandbox, module, index, how, cookies);
    match attachment.is_ready() {
        true => Ok(attachment),
        false => Err(wrong("is not there for every CPU")),
    }
}

impl Link {
    fn attach(
        (id, host): (u32, u64),
        attachment: Attachment,
        attach: AttachPoint,
        target: String,
        (args, places): (&LinkCreate, &[u64]),
    ) -> Result<Self, LinkError> {
        let names = Names::of(attach, &target)?;
        let attachment = Box::new(attachment);
        let handed = (&raw const *attachment).cast_mut().cast::<c_void>();
        let place = place::place(attach, &names, args, places)?;
        // SAFETY: names and attachment go into the link, which drops the probe before them; `prepare` made
        // the attachment for this place.
        let probe =
            unsafe { Probe::register(place, handed) }.map_err(|errno| LinkError::Kernel {
                attach,
                target: target.clone(),
                errno,
            })?;
        Ok(Self {
            holders: AtomicU32::new(1),
            id,
            target,
            _names: names,
            attach,
            offset: args.offset,
            host,
            places: args.place_count.max(1),
            attachment,
            probe,
        })
    }

    /// Whether a descriptor or a pin holds it, and so it is attached.
    pub(crate) fn is_held(&self) -> bool {
        self.holders.load(Relaxed) != 0
    }

    /// Whether it attaches a program of `module`.
    pub(crate) fn is_of(&self, module: &Arc<Module>) -> bool {
        Arc::ptr_eq(&self.attachment.module, module)
    }

    /// Whether it attaches program `index` of its module.
    pub(crate) fn is_of_program(&self, index: usize) -> bool {
        self.attachment.program == index
    }

    /// Hits its probe could not hand over.
    pub(crate) fn missed(&self) -> u64 {
        self.probe.missed()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let account = &self.attachment.sandbox.account;
        account.give_back(Resource::Links, 1);
        account.give_back(Resource::Host, self.host);
    }
}

/// Answers an ioctl of a link's descriptor.
pub(crate) fn ioctl(link: &Holder, call: &Call) -> Result<(), Errno> {
    if call.is(uapi::LINK_INFO) {
        return call.write(&uapi::LinkInfo {
            id: link.id,
            module: link.attachment.module.id,
            program: user::field(&link.attachment.program().name),
            target: user::field(&link.target),
            attach: link.attach as u32,
            pinned: registry::is_pinned(&Object::Link(link.clone()))?.into(),
            offset: link.offset,
            cookie: link.attachment.cookies.at(0),
            places: link.places,
        });
    }
    Err(user::ENOTTY)
}

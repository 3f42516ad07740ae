//! Client of `/dev/wprobe`: one type per object of [`abi::uapi`], each holding its descriptor.
//!
//! # Invariants
//! A value here is a live reference: dropping it closes the descriptor, and what nothing else holds
//! (a pin, a child, another descriptor) is gone. Every failure carries the request's name, what it
//! was about, and the device's own words where it has any.

mod ioctl;
mod link;
mod map;
mod mapping;
mod module;
mod ring;
mod sandbox;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use abi::uapi::{self, About, Kind, Limit, NextId, OpenId, Resource, SandboxCreate};

pub use ioctl::text;
pub use link::Link;
pub use map::{Map, MapSpec};
pub use module::{LinkPlace, LinkSpec, Module, ModuleSpec, Program, Rate, Sampling};
pub use ring::{PerfBuffer, PerfRing, Record, RingBuffer};
pub use sandbox::Sandbox;

use ioctl::{Log, bytes, call, call_bare, zeroed};

/// Where the kernel module offers itself.
pub const PATH: &str = "/dev/wprobe";

/// Why a request to the device failed.
#[derive(Debug)]
pub enum Error {
    /// The device cannot be opened.
    Open(io::Error),
    /// It speaks another version of the interface.
    Version(u32),
    /// A name does not fit its field.
    Name(String),
    /// A request was refused.
    Request {
        /// The ioctl's name.
        ioctl: &'static str,
        /// The object it was about.
        about: String,
        /// The errno.
        source: io::Error,
        /// The device's own words; empty where the request has none.
        log: String,
    },
}

impl Error {
    /// The errno, where the failure has one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Open(source) | Error::Request { source, .. } => source.raw_os_error(),
            Error::Version(_) | Error::Name(_) => None,
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Open(e) if e.kind() == io::ErrorKind::NotFound => write!(
                f,
                "{PATH} is not there: load the kernel module first (insmod wprobe.ko; `wprobe doctor` says more)"
            ),
            Error::Open(e) if e.kind() == io::ErrorKind::PermissionDenied => write!(
                f,
                "{PATH}: permission denied: it needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN"
            ),
            Error::Open(e) => write!(f, "{PATH}: {e}"),
            Error::Version(v) => write!(
                f,
                "{PATH} speaks version {v} of the interface, this command version {}",
                uapi::VERSION
            ),
            Error::Name(name) => write!(f, "`{name}` is too long, or holds a NUL"),
            Error::Request {
                ioctl,
                about,
                source,
                log,
            } => {
                write!(f, "{about}: ")?;
                match log.is_empty() {
                    true => write!(f, "{source} ({ioctl})"),
                    false => write!(f, "{log} ({ioctl}: {source})"),
                }
            }
        }
    }
}

impl std::error::Error for Error {}

/// What a device request gives.
pub type Result<T> = std::result::Result<T, Error>;

/// The device itself.
#[derive(Debug)]
pub struct Device(OwnedFd);

impl Device {
    /// Opens `/dev/wprobe` and checks the version of its interface.
    pub fn open() -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(PATH)
            .map_err(Error::Open)?;
        let device = Device(file.into());
        match device.about()?.version {
            uapi::VERSION => Ok(device),
            other => Err(Error::Version(other)),
        }
    }

    /// What the kernel module is and how it is doing.
    pub fn about(&self) -> Result<About> {
        let mut about: About = zeroed();
        call(&self.0, "ABOUT", uapi::ABOUT, &mut about, PATH)?;
        Ok(about)
    }

    /// Creates a sandbox with `memory` bytes; 0 for modules that bring their own.
    pub fn create_sandbox(&self, name: &str, memory: u64) -> Result<Sandbox> {
        let mut log = Log::new();
        let mut arg = SandboxCreate {
            name: bytes(name)?,
            memory,
            log: log.address(),
            log_size: log.size(),
            ..zeroed()
        };
        let about = format!("sandbox {name} of {memory} bytes");
        let fd = call(
            &self.0,
            "SANDBOX_CREATE",
            uapi::SANDBOX_CREATE,
            &mut arg,
            &about,
        );
        Ok(Sandbox(owned(log.explain(fd)?)))
    }

    /// How much of `resource` there may be, and is.
    pub fn limit(&self, resource: Resource) -> Result<Limit> {
        let mut limit = Limit {
            resource: resource as u32,
            ..zeroed()
        };
        call(&self.0, "LIMIT", uapi::LIMIT, &mut limit, PATH)?;
        Ok(limit)
    }

    /// Has the time of every run measured while the result is held.
    pub fn time_runs(&self) -> Result<Timing> {
        call_bare(&self.0, "TIME_RUNS", uapi::TIME_RUNS).map(|fd| Timing(owned(fd)))
    }

    /// The ids of every living object of `kind`, upwards.
    pub fn ids(&self, kind: Kind) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut arg = NextId {
            kind: kind as u32,
            id: 0,
        };
        loop {
            match call(&self.0, "NEXT_ID", uapi::NEXT_ID, &mut arg, PATH) {
                Ok(_) => ids.push(arg.id),
                Err(e) if e.errno() == Some(libc::ENOENT) => return Ok(ids),
                Err(e) => return Err(e),
            }
        }
    }

    /// Opens sandbox `id`.
    pub fn sandbox(&self, id: u32) -> Result<Sandbox> {
        self.open_id(Kind::Sandbox, id).map(Sandbox)
    }

    /// Opens map `id`.
    pub fn map(&self, id: u32) -> Result<Map> {
        Map::from_fd(self.open_id(Kind::Map, id)?)
    }

    /// Opens module `id`.
    pub fn module(&self, id: u32) -> Result<Module> {
        self.open_id(Kind::Module, id).map(Module)
    }

    /// Opens link `id`.
    pub fn link(&self, id: u32) -> Result<Link> {
        self.open_id(Kind::Link, id).map(Link)
    }

    fn open_id(&self, kind: Kind, id: u32) -> Result<OwnedFd> {
        let mut arg = OpenId {
            kind: kind as u32,
            id,
        };
        let about = format!("{kind:?} {id}").to_lowercase();
        call(&self.0, "OPEN_ID", uapi::OPEN_ID, &mut arg, &about).map(owned)
    }
}

/// While it is held, or pinned, the time of every run is measured.
#[derive(Debug)]
pub struct Timing(OwnedFd);

/// Pins and their like: what every object's descriptor understands.
pub trait Object {
    /// The object's descriptor.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Keeps the object alive without a descriptor.
    fn pin(&self) -> Result<()> {
        call_bare(&self.fd(), "PIN", uapi::PIN).map(drop)
    }

    /// Takes [`Object::pin`] back.
    fn unpin(&self) -> Result<()> {
        call_bare(&self.fd(), "UNPIN", uapi::UNPIN).map(drop)
    }
}

macro_rules! objects {
    ($($name:ident)*) => {$(
        impl Object for $name {
            fn fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }
    )*};
}
objects!(Sandbox Module Link Timing);

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the ioctl that returned `fd` installed it for the caller, who is its only owner.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

//! What tests of the device itself work with: a sandbox, a map, a module and a link, by the device's own requests.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use abi::map_types::MapType;
use abi::uapi::{self, AttachPoint, Kind, OpenId};
use anyhow::Result;
use loader::device::{
    self, Code, Device, Link, LinkSpec, Map, MapSpec, Module, ModuleSpec, Sandbox,
};

/// A program on its sandbox's memory, which does nothing.
const PROGRAM: &str = "kprobe:__x64_sys_getpgrp:plain";
/// Bytes of `struct pt_regs`.
const CONTEXT: u32 = 168;
/// Bytes of linear memory.
pub(super) const MEMORY: u64 = 1 << 20;

/// One of each.
pub(super) struct Plain {
    pub(super) link: Link,
    pub(super) module: Module,
    pub(super) map: Map,
    pub(super) events: Map,
    pub(super) sandbox: Sandbox,
}

impl Plain {
    /// Makes and attaches them.
    pub(super) fn new(device: &Device) -> Result<Self> {
        let sandbox = device.create_sandbox("plain", MEMORY)?;
        let map = create(&sandbox, MapType::Hash, (8, 8, 16))?;
        let events = create(&sandbox, MapType::PerfEventArray, (4, 4, 64))?;
        let module = load(&sandbox, &wasm())?;
        let link = module.attach(&kprobe())?;
        Ok(Plain {
            link,
            module,
            map,
            events,
            sandbox,
        })
    }

    /// Runs of its program.
    pub(super) fn runs(&self) -> Result<u64> {
        Ok(self.module.programs()?.iter().map(|p| p.runs).sum())
    }
}

/// A map with keys and values of so many bytes, and so many entries.
pub(super) fn create(
    sandbox: &Sandbox,
    map_type: MapType,
    (key_size, value_size, max_entries): (u32, u32, u32),
) -> device::Result<Map> {
    sandbox.create_map(&MapSpec {
        name: MapType::name(map_type),
        map_type: map_type as u32,
        key_size,
        value_size,
        max_entries,
        // BPF_F_NO_PREALLOC, without which there is no trie.
        flags: u32::from(map_type == MapType::LpmTrie),
        inner: None,
    })
}

/// The module.
pub(super) fn wasm() -> Vec<u8> {
    of(&format!(
        r#"(func (export "{PROGRAM}") (param i64) (result i64) i64.const 0)"#
    ))
}

/// A module on its sandbox's memory with these functions.
pub(super) fn of(functions: &str) -> Vec<u8> {
    let text = format!(r#"(module (import "env" "memory" (memory 1)) {functions})"#);
    wat::parse_str(text).expect("a module")
}

/// Loads a module.
pub(super) fn load(sandbox: &Sandbox, wasm: &[u8]) -> device::Result<Module> {
    sandbox.load(&ModuleSpec {
        name: "plain",
        wasm,
        trap_limit: 0,
        fuel: 0,
        native: Code::Interpreted,
    })
}

/// Where its program is attached.
pub(super) fn kprobe() -> LinkSpec {
    at("__x64_sys_getpgrp", AttachPoint::Kprobe)
}

/// Its program elsewhere.
pub(super) fn at(target: &str, point: AttachPoint) -> LinkSpec {
    let context = match point {
        AttachPoint::Kprobe => CONTEXT,
        _ => 0,
    };
    LinkSpec {
        context,
        ..LinkSpec::new(PROGRAM, target, point)
    }
}

/// Takes an object's pin back, if it has one.
pub(super) fn unpin(device: &impl AsFd, kind: Kind, id: u32) {
    let mut open = OpenId {
        kind: kind as u32,
        id,
    };
    // SAFETY: the struct is what the request takes, and lives as long as the call; the descriptor is this function's own.
    unsafe {
        let fd = libc::ioctl(
            device.as_fd().as_raw_fd(),
            uapi::OPEN_ID as _,
            &raw mut open,
        );
        if fd >= 0 {
            libc::ioctl(fd, uapi::UNPIN as _);
            libc::close(fd);
        }
    }
}

/// The request by itself; its errno, 0 if it succeeded. What it opens is closed.
pub(super) fn request(fd: &impl AsFd, number: u32, address: u64) -> i32 {
    // SAFETY: wherever the address leads, the kernel looks at it with care, and writes nothing that Rust knows of: callers hand over
    // none, or one of memory that nobody else uses.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), number as _, address) };
    match result {
        -1 => io::Error::last_os_error().raw_os_error().unwrap_or(-1),
        0 => 0,
        fd => {
            // SAFETY: opened by the request, and nobody else's.
            unsafe { libc::close(fd) };
            0
        }
    }
}

//! A sandbox: one linear memory, and the maps and modules in it.

use std::os::fd::OwnedFd;

use abi::uapi::{self, MapCreate, ModuleLoad, SandboxInfo};

use super::ioctl::{Log, bytes, call, zeroed};
use super::{Code, Map, MapSpec, Module, ModuleSpec, Result, owned};

/// A sandbox.
#[derive(Debug)]
pub struct Sandbox(pub(super) OwnedFd);

impl Sandbox {
    /// Creates a map; it lives as long as the sandbox.
    pub fn create_map(&self, spec: &MapSpec<'_>) -> Result<Map> {
        let mut log = Log::new();
        let mut arg = MapCreate {
            name: bytes(spec.name)?,
            map_type: spec.map_type,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            map_flags: spec.flags,
            log: log.address(),
            log_size: log.size(),
            ..zeroed()
        };
        if let Some(inner) = &spec.inner {
            arg.inner_type = inner.map_type as u32;
            arg.inner_key_size = inner.key_size;
            arg.inner_value_size = inner.value_size;
            arg.inner_max_entries = inner.max_entries;
            arg.inner_flags = inner.flags;
        }
        let about = format!("map {}", spec.name);
        let fd = call(&self.0, "MAP_CREATE", uapi::MAP_CREATE, &mut arg, &about);
        let mut map = Map::from_fd(owned(log.explain(fd)?))?;
        (map.handle, map.values) = (arg.handle, arg.values);
        Ok(map)
    }

    /// Loads a module; it lives as long as the sandbox.
    pub fn load(&self, spec: &ModuleSpec<'_>) -> Result<Module> {
        let mut log = Log::new();
        let image = match spec.native {
            Code::Image(image) => image,
            Code::Interpreted | Code::Compile | Code::CompileOrInterpret => &[],
        };
        let flags = match spec.native {
            Code::Compile => uapi::MODULE_COMPILE,
            Code::CompileOrInterpret => uapi::MODULE_COMPILE | uapi::MODULE_FALLBACK,
            Code::Interpreted | Code::Image(_) => 0,
        };
        let mut arg = ModuleLoad {
            name: bytes(spec.name)?,
            wasm: spec.wasm.as_ptr() as u64,
            wasm_size: spec.wasm.len() as u64,
            trap_limit: spec.trap_limit,
            fuel: spec.fuel,
            log: log.address(),
            log_size: log.size(),
            flags,
            native: image.as_ptr() as u64,
            native_size: image.len() as u64,
        };
        let about = format!("module {}", spec.name);
        let fd = call(&self.0, "MODULE_LOAD", uapi::MODULE_LOAD, &mut arg, &about);
        Ok(Module(owned(log.explain(fd)?)))
    }

    /// What the device says about it.
    pub fn info(&self) -> Result<SandboxInfo> {
        let mut info: SandboxInfo = zeroed();
        call(
            &self.0,
            "SANDBOX_INFO",
            uapi::SANDBOX_INFO,
            &mut info,
            "sandbox",
        )?;
        Ok(info)
    }
}

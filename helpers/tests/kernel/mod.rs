//! Maps of the running kernel, through bpf(2).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use wprobe_helpers::host::Errno;
use wprobe_helpers::maps::MapSpec;

use crate::{Operation, Outcome};

/// `enum bpf_cmd`.
const MAP_CREATE: i64 = 0;
const MAP_LOOKUP_ELEM: i64 = 1;
const MAP_UPDATE_ELEM: i64 = 2;
const MAP_DELETE_ELEM: i64 = 3;
const MAP_GET_NEXT_KEY: i64 = 4;
const OBJ_GET_INFO_BY_FD: i64 = 15;
const MAP_LOOKUP_AND_DELETE_ELEM: i64 = 21;

/// The part of `union bpf_attr` for `BPF_MAP_CREATE`.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
}

/// The part of `union bpf_attr` for `BPF_MAP_*_ELEM`.
#[repr(C)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct ObjectInfo {
    fd: u32,
    length: u32,
    info: u64,
}

fn bpf<T>(command: i64, attr: &mut T) -> Result<i64, i32> {
    let size = size_of::<T>();
    // SAFETY: `attr` is `size` bytes of the union; the buffers it points to outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size) };
    match result {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
        value => Ok(value),
    }
}

/// Possible CPUs: values of a per-CPU element.
pub(crate) fn possible_cpus() -> u32 {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    let last = text.trim().rsplit(['-', ',']).next().unwrap();
    last.parse::<u32>().unwrap() + 1
}

/// A map of the running kernel.
pub(crate) struct KernelMap(OwnedFd);

impl KernelMap {
    pub(crate) fn create(spec: &MapSpec) -> Result<Self, Errno> {
        Self::create_of(spec, None)
    }

    /// A map of maps like `inner`, if given.
    pub(crate) fn create_of(spec: &MapSpec, inner: Option<&KernelMap>) -> Result<Self, Errno> {
        let mut attr = Create {
            map_type: spec.map_type as u32,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            map_flags: spec.flags,
            inner_map_fd: inner.map_or(0, KernelMap::fd),
        };
        let fd = bpf(MAP_CREATE, &mut attr).map_err(Errno)?;
        // SAFETY: a descriptor the kernel just made for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    pub(crate) fn fd(&self) -> u32 {
        self.0.as_raw_fd() as u32
    }

    /// The number by which a map of maps shows it.
    pub(crate) fn id(&self) -> u32 {
        let mut info = [0u32; 22];
        let mut attr = ObjectInfo {
            fd: self.fd(),
            length: size_of_val(&info) as u32,
            info: info.as_mut_ptr() as u64,
        };
        bpf(OBJ_GET_INFO_BY_FD, &mut attr).unwrap();
        // struct bpf_map_info: type, id, …
        info[1]
    }

    fn call(&self, command: i64, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), i32> {
        let address = |bytes: *const u8, len: usize| if len == 0 { 0 } else { bytes as u64 };
        let mut attr = Element {
            map_fd: self.0.as_raw_fd() as u32,
            padding: 0,
            key: address(key.as_ptr(), key.len()),
            value: address(value.as_mut_ptr(), value.len()),
            flags,
        };
        bpf(command, &mut attr).map(|_| ())
    }

    pub(crate) fn run(&self, operation: &Operation, value_size: usize) -> Outcome {
        let mut value = vec![0; value_size];
        match operation {
            Operation::Lookup(key) => self.call(MAP_LOOKUP_ELEM, key, &mut value, 0),
            Operation::Take(()) => self.call(MAP_LOOKUP_AND_DELETE_ELEM, &[], &mut value, 0),
            Operation::Update(key, new, flags) => {
                return self
                    .call(MAP_UPDATE_ELEM, key, &mut new.clone(), *flags)
                    .map(|()| Vec::new());
            }
            Operation::Delete(key) => {
                return self
                    .call(MAP_DELETE_ELEM, key, &mut [], 0)
                    .map(|()| Vec::new());
            }
        }
        .map(|()| value)
    }

    pub(crate) fn keys(&self, key_size: usize) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut next = vec![0; key_size];
        loop {
            let last = keys.last().cloned().unwrap_or_default();
            if self.call(MAP_GET_NEXT_KEY, &last, &mut next, 0).is_err() {
                keys.sort_unstable();
                return keys;
            }
            keys.push(next.clone());
        }
    }
}

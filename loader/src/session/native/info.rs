//! What the kernel tells of its programs, maps and links: of one at hand, and of all by their ids.

use std::ffi::{CStr, CString};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use bpf2wasm::btf::Btf;
use libbpf_rs::libbpf_sys::{
    BPF_STATS_RUN_TIME, bpf_btf_get_fd_by_id, bpf_btf_info, bpf_enable_stats,
    bpf_link_get_fd_by_id, bpf_link_get_next_id, bpf_map_get_fd_by_id, bpf_map_get_next_id,
    bpf_obj_get, bpf_obj_get_info_by_fd, bpf_prog_get_fd_by_id, bpf_prog_get_next_id,
    bpf_prog_info, libbpf_bpf_prog_type_str,
};

use super::super::Cost;
use crate::values::KERNEL_BTF;

/// Bytes of a kernel module's name, at most.
const NAME: usize = 64;

/// Objects that have ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A program.
    Program,
    /// A map.
    Map,
    /// An attachment.
    Link,
}

impl Kind {
    /// Descriptors of all there are, by increasing id.
    pub(crate) fn all(self) -> Result<Vec<(u32, OwnedFd)>> {
        let mut all = Vec::new();
        let mut id = 0;
        while let Some(next) = self.next(id)? {
            // One that went away meanwhile is simply not there.
            if let Some(fd) = self.open(next)? {
                all.push((next, fd));
            }
            id = next;
        }
        Ok(all)
    }

    /// The id of the one that is pinned as `file`.
    pub(crate) fn pinned(self, file: &str) -> Result<u32> {
        let path = CString::new(file)?;
        // SAFETY: the call reads a text that ends, and gives a number.
        let fd = unsafe { bpf_obj_get(path.as_ptr()) };
        let fd = found(fd).with_context(|| file.to_owned())?;
        let fd = fd.with_context(|| format!("{file}: no such file"))?;
        // SAFETY: the descriptor is a new one; nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
        let of_what = || format!("{file}: what is pinned there is no {self}");
        self.id_in(&told).with_context(of_what)
    }

    /// The id in what the kernel tells of a descriptor; nothing of another kind's.
    fn id_in(self, told: &str) -> Option<u32> {
        let number = |name: &str| {
            let mut lines = told.lines();
            lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        let link = number("link_id:");
        match self {
            Kind::Link => link,
            // A link's tells of its program, too, and a program array's of its owner's.
            Kind::Program if link.is_none() && number("map_id:").is_none() => number("prog_id:"),
            Kind::Program => None,
            Kind::Map => number("map_id:"),
        }
    }

    fn next(self, id: u32) -> Result<Option<u32>> {
        let mut next = 0;
        // SAFETY: the calls write one number to `next`.
        let result = unsafe {
            match self {
                Kind::Program => bpf_prog_get_next_id(id, &raw mut next),
                Kind::Map => bpf_map_get_next_id(id, &raw mut next),
                Kind::Link => bpf_link_get_next_id(id, &raw mut next),
            }
        };
        Ok(found(result)
            .context("the kernel's eBPF objects")?
            .map(|_| next))
    }

    fn open(self, id: u32) -> Result<Option<OwnedFd>> {
        // SAFETY: the calls take and give numbers.
        let result = unsafe {
            match self {
                Kind::Program => bpf_prog_get_fd_by_id(id),
                Kind::Map => bpf_map_get_fd_by_id(id),
                Kind::Link => bpf_link_get_fd_by_id(id),
            }
        };
        let fd = found(result).with_context(|| format!("the kernel's {self:?} {id}"))?;
        // SAFETY: the descriptor is a new one; nobody else has it.
        Ok(fd.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Program => "program",
            Kind::Map => "map",
            Kind::Link => "link",
        })
    }
}

/// What a call came to that fails with `ENOENT` where there is nothing.
fn found(result: i32) -> io::Result<Option<i32>> {
    match result {
        0.. => Ok(Some(result)),
        _ if -result == libc::ENOENT => Ok(None),
        _ => Err(io::Error::from_raw_os_error(-result)),
    }
}

/// What the kernel tells of `program`.
pub(crate) fn program(program: BorrowedFd<'_>) -> Result<bpf_prog_info> {
    let mut info = bpf_prog_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: the kernel writes at most `len` bytes to `info`, whose lengths of arrays are all zero.
    let result = unsafe {
        bpf_obj_get_info_by_fd(program.as_raw_fd(), (&raw mut info).cast(), &raw mut len)
    };
    found(result).context("information on a program")?;
    Ok(info)
}

/// The whole name of a program, of which the kernel's `name` has 15 bytes at most: its function's, in the BTF that came
/// with it.
pub(crate) fn full_name(program: BorrowedFd<'_>, info: &bpf_prog_info, name: &str) -> String {
    let whole = match name.len() < KERNEL_NAME {
        true => None,
        false => function_name(program, info),
    };
    let whole = whole.filter(|whole| whole.starts_with(name));
    whole.unwrap_or_else(|| name.to_owned())
}

/// Bytes of a name that the kernel keeps (`BPF_OBJ_NAME_LEN`, without the NUL).
pub(crate) const KERNEL_NAME: usize = 15;

fn function_name(program: BorrowedFd<'_>, info: &bpf_prog_info) -> Option<String> {
    if info.btf_id == 0 || info.nr_func_info == 0 {
        return None;
    }
    // The start of `struct bpf_func_info`: the instruction, and the type.
    let mut record = vec![0u8; info.func_info_rec_size as usize];
    let mut asked = bpf_prog_info {
        nr_func_info: 1,
        func_info_rec_size: info.func_info_rec_size,
        func_info: record.as_mut_ptr() as u64,
        ..bpf_prog_info::default()
    };
    let mut len = size_of_val(&asked) as u32;
    // SAFETY: the kernel writes at most `len` bytes to `asked`, and one record to `record`, which is as long as it said.
    let result = unsafe {
        bpf_obj_get_info_by_fd(program.as_raw_fd(), (&raw mut asked).cast(), &raw mut len)
    };
    found(result).ok().flatten()?;
    let id = u32::from_ne_bytes(*record.get(4..)?.first_chunk()?);
    Some(btf(info.btf_id).ok()?.get(id)?.name.to_owned())
}

/// What libbpf calls a type of programs.
pub(crate) fn program_type(number: u32) -> Option<String> {
    // SAFETY: libbpf gives null or a constant text.
    unsafe {
        let name = libbpf_bpf_prog_type_str(number);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// What `program` cost so far.
pub(super) fn cost(program: BorrowedFd<'_>) -> Result<Cost> {
    let info = self::program(program)?;
    Ok(Cost {
        misses: info.recursion_misses,
        timed: info.run_cnt,
        nanoseconds: info.run_time_ns,
    })
}

/// Has the kernel time the runs of all programs while the descriptor is held.
pub(crate) fn time_runs() -> Result<OwnedFd> {
    // SAFETY: without arguments in memory.
    let fd = unsafe { bpf_enable_stats(BPF_STATS_RUN_TIME) };
    let fd = found(fd)?.context("timing native programs")?;
    // SAFETY: the descriptor is a new one; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The types that the kernel keeps under `id`, of objects that were loaded with some.
pub(crate) fn btf(id: u32) -> Result<Btf> {
    // SAFETY: the call takes and gives numbers.
    let fd = found(unsafe { bpf_btf_get_fd_by_id(id) })?;
    let fd = fd.with_context(|| format!("the kernel has no BTF {id}"))?;
    // SAFETY: the descriptor is a new one; nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let (mut bytes, mut name) = (Vec::new(), [0u8; NAME]);
    let mut of_module = false;
    // First its size, then its bytes.
    for _ in 0..2 {
        let mut info = bpf_btf_info {
            btf: bytes.as_mut_ptr() as u64,
            btf_size: bytes.len() as u32,
            name: name.as_mut_ptr() as u64,
            name_len: NAME as u32,
            ..bpf_btf_info::default()
        };
        let mut len = size_of_val(&info) as u32;
        // SAFETY: the kernel writes at most `len` bytes to `info`, and as many to `bytes` and `name` as these are.
        let result =
            unsafe { bpf_obj_get_info_by_fd(fd.as_raw_fd(), (&raw mut info).cast(), &raw mut len) };
        found(result).with_context(|| format!("BTF {id}"))?;
        bytes.resize(info.btf_size as usize, 0);
        of_module = info.kernel_btf != 0 && !name.starts_with(b"vmlinux\0");
    }
    match of_module {
        true => Ok(Btf::parse_split(
            &bytes,
            Arc::new(Btf::parse(&fs::read(KERNEL_BTF)?)?),
        )?),
        false => Ok(Btf::parse(&bytes)?),
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn what_is_pinned_is_of_one_kind() {
        let program = "pos:\t0\nprog_type:\t2\nprog_tag:\t00\nprog_id:\t7\n";
        let link = "link_type:\tperf\nlink_id:\t9\nprog_tag:\t00\nprog_id:\t7\n";
        let map = "map_type:\t1\nmap_id:\t8\n";
        for (kind, told, id) in [
            (Kind::Program, program, Some(7)),
            (Kind::Program, link, None),
            (Kind::Program, map, None),
            (Kind::Link, link, Some(9)),
            (Kind::Link, program, None),
            (Kind::Map, map, Some(8)),
            (Kind::Map, link, None),
        ] {
            assert_eq!(kind.id_in(told), id, "{kind} in {told}");
        }
    }
}

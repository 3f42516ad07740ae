//! Runs programs in this machine's kernel with BPF_PROG_TEST_RUN: the reference.
//!
//! Programs are of type `syscall`, whose context is plain memory that is copied in and out, or of one that gets a packet.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use abi::manifest::Map;

/// What a run left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// `r0` as the kernel reports it (32 bits), or why the run ended early.
    pub(crate) result: Result<u32, String>,
    /// The context afterwards, or the packet.
    pub(crate) context: Vec<u8>,
    /// The elements of every map, one after the other; of a hash, whether each of the first keys is there, and its value.
    pub(crate) maps: Vec<Vec<u8>>,
}

const MAP_CREATE: i32 = 0;
const MAP_LOOKUP_ELEM: i32 = 1;
const PROG_LOAD: i32 = 5;
const PROG_TEST_RUN: i32 = 10;
const SLEEPABLE: u32 = 1 << 4;
/// `BPF_LOG_STATS`: the log says what is wrong and not, for more than the rest of a load costs, what every instruction does.
const LOG_STATS: u32 = 4;
const HASH: u32 = 1;
/// How many keys of a hash are looked at, from 0 on.
pub(crate) const HASH_KEYS: u32 = 8;

/// A type of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) section: &'static str,
    /// `enum bpf_prog_type`.
    pub(crate) number: u32,
    /// What it is loaded with.
    pub(crate) flags: u32,
    /// Whether it runs on a packet rather than a context.
    pub(crate) packet: bool,
}

/// Programs that run on plain memory.
pub(crate) const SYSCALL: Kind = Kind {
    section: "syscall",
    number: 31,
    flags: SLEEPABLE,
    packet: false,
};

/// A union bpf_attr.
#[repr(C, align(8))]
struct Attr([u8; 144]);

impl Attr {
    fn new(fields: &[(usize, &[u8])]) -> Self {
        let mut attr = Attr([0; 144]);
        for (at, bytes) in fields {
            attr.0[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        attr
    }
}

fn bpf(command: i32, attr: &mut Attr) -> io::Result<i64> {
    let size = attr.0.len();
    // SAFETY: the attribute is valid memory of `size` bytes, and every address in it is of a buffer
    // that its maker keeps alive and that is as long as the attribute says.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.0.as_mut_ptr(), size) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn owned(fd: i64) -> OwnedFd {
    // SAFETY: bpf(2) has just returned this descriptor, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn address<T>(data: &[T]) -> [u8; 8] {
    (data.as_ptr() as u64).to_ne_bytes()
}

/// Whether this machine lets us load programs.
pub(crate) fn available() -> bool {
    let exit = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    Program::load(&exit, &[]).is_ok()
}

/// A loaded program and its maps.
pub(crate) struct Program {
    kind: Kind,
    fd: OwnedFd,
    maps: Vec<(OwnedFd, Map)>,
}

impl Program {
    /// Loads `code` as a syscall program.
    pub(crate) fn load(code: &[u8], maps: &[Map]) -> Result<Self, String> {
        Self::load_as(SYSCALL, code, maps)
    }

    /// Loads `code`, whose `lddw` name maps by index; the error is the verifier's last words.
    pub(crate) fn load_as(kind: Kind, code: &[u8], maps: &[Map]) -> Result<Self, String> {
        let mut fds = Vec::new();
        for map in maps {
            let words = [map.map_type, map.key_size, map.value_size, map.max_entries];
            let words: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
            let fd = bpf(MAP_CREATE, &mut Attr::new(&[(0, &words)])).map_err(|e| e.to_string())?;
            fds.push((owned(fd), map.clone()));
        }
        let mut code = code.to_vec();
        for at in (0..code.len()).step_by(8) {
            // ld_imm64 with a map's index: a descriptor instead.
            if code[at] == 0x18 && matches!(code[at + 1] >> 4, 1 | 2) {
                let fd = fds[usize::from(code[at + 4])].0.as_raw_fd();
                code[at + 4..at + 8].copy_from_slice(&fd.to_ne_bytes());
            }
        }
        let mut log = vec![0u8; 1 << 16];
        let mut attr = Attr::new(&[
            (0, &kind.number.to_ne_bytes()),
            (4, &((code.len() / 8) as u32).to_ne_bytes()),
            (8, &address(&code)),
            (16, &address(b"GPL\0")),
            (24, &LOG_STATS.to_ne_bytes()),
            (28, &(log.len() as u32).to_ne_bytes()),
            (32, &(log.as_mut_ptr() as u64).to_ne_bytes()),
            (44, &kind.flags.to_ne_bytes()),
        ]);
        match bpf(PROG_LOAD, &mut attr) {
            Ok(fd) => Ok(Program {
                kind,
                fd: owned(fd),
                maps: fds,
            }),
            Err(error) => {
                let log = String::from_utf8_lossy(&log);
                let words: Vec<_> = log.trim_end_matches('\0').lines().rev().take(6).collect();
                Err(format!(
                    "{error}: {}",
                    words.into_iter().rev().collect::<Vec<_>>().join("; ")
                ))
            }
        }
    }

    /// Runs the program over a copy of `context`, its context or its packet.
    pub(crate) fn run(&self, context: &[u8]) -> Outcome {
        let mut context = context.to_vec();
        let size = (context.len() as u32).to_ne_bytes();
        let pointer = if context.is_empty() {
            0
        } else {
            context.as_mut_ptr() as u64
        };
        let (fd, pointer) = (self.fd.as_raw_fd().to_ne_bytes(), pointer.to_ne_bytes());
        // A context is written back to where it came from; a packet has an address out.
        let mut attr = if self.kind.packet {
            let packet: [(usize, &[u8]); 4] =
                [(8, &size), (12, &size), (16, &pointer), (24, &pointer)];
            Attr::new(&[&[(0, &fd[..])], &packet[..]].concat())
        } else {
            Attr::new(&[(0, &fd), (40, &size), (48, &pointer)])
        };
        let ran = bpf(PROG_TEST_RUN, &mut attr);
        let r0 = u32::from_ne_bytes(attr.0[4..8].try_into().expect("four bytes"));
        let maps = self.maps.iter().map(|(fd, map)| match map.map_type {
            HASH => (0..HASH_KEYS)
                .flat_map(|key| held(element(fd, key, map.value_size)))
                .collect(),
            _ => (0..map.max_entries)
                .filter_map(|key| element(fd, key, map.value_size))
                .flatten()
                .collect(),
        });
        Outcome {
            result: ran.map(|_| r0).map_err(|e| e.to_string()),
            maps: maps.collect(),
            context,
        }
    }
}

/// An element of a hash as bytes: whether it is there, and its value.
pub(crate) fn held(value: Option<Vec<u8>>) -> Vec<u8> {
    match value {
        Some(value) => [vec![1], value].concat(),
        None => vec![0],
    }
}

fn element(map: &OwnedFd, key: u32, size: u32) -> Option<Vec<u8>> {
    let mut value = vec![0u8; size.next_multiple_of(8) as usize];
    let key = [key];
    let mut attr = Attr::new(&[
        (0, &map.as_raw_fd().to_ne_bytes()),
        (8, &address(&key)),
        (16, &(value.as_mut_ptr() as u64).to_ne_bytes()),
    ]);
    bpf(MAP_LOOKUP_ELEM, &mut attr).ok()?;
    value.truncate(size as usize);
    Some(value)
}

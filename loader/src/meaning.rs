//! What numbers stand for, and how a person reads them: system calls, errors, flags, devices. A type says it (`dev_t` is the kernel's own;
//! others are of layouts), or a tool's profile. In JSON they stay numbers.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::sync::{LazyLock, Mutex, PoisonError};

use bpf2wasm::btf::{Btf, Kind};
use serde::Deserialize;

/// Names of numbers, by meaning.
const NAMES: &str = include_str!("../names.toml");

/// What a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meaning {
    /// A system call, by its number on x86-64.
    Syscall,
    /// A result: an error where it is negative.
    Errno,
    /// What open(2) is given.
    OpenFlags,
    /// A signal.
    Signal,
    /// An address family.
    Family,
    /// A state of a TCP connection.
    TcpState,
    /// A capability.
    Capability,
    /// A device, as the kernel itself has its number.
    Device,
}

/// Types of which each number means something: those of layouts, and of the kernel.
const TYPES: &[(&str, Meaning)] = &[
    ("syscall_t", Meaning::Syscall),
    ("errno_t", Meaning::Errno),
    ("open_flags_t", Meaning::OpenFlags),
    ("signal_t", Meaning::Signal),
    ("family_t", Meaning::Family),
    ("sa_family_t", Meaning::Family),
    ("__kernel_sa_family_t", Meaning::Family),
    ("tcp_state_t", Meaning::TcpState),
    ("capability_t", Meaning::Capability),
    ("dev_t", Meaning::Device),
    ("__kernel_dev_t", Meaning::Device),
];

/// Flags of open(2), those of several bits first.
const OPEN_FLAGS: &[(i64, &str)] = &[
    (0o20_200_000, "O_TMPFILE"),
    (0o4_010_000, "O_SYNC"),
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1_000, "O_TRUNC"),
    (0o2_000, "O_APPEND"),
    (0o4_000, "O_NONBLOCK"),
    (0o10_000, "O_DSYNC"),
    (0o20_000, "O_ASYNC"),
    (0o40_000, "O_DIRECT"),
    (0o100_000, "O_LARGEFILE"),
    (0o200_000, "O_DIRECTORY"),
    (0o400_000, "O_NOFOLLOW"),
    (0o1_000_000, "O_NOATIME"),
    (0o2_000_000, "O_CLOEXEC"),
    (0o10_000_000, "O_PATH"),
];

type Names = BTreeMap<Meaning, BTreeMap<String, String>>;

static TABLE: LazyLock<Names> = LazyLock::new(|| toml::from_str(NAMES).expect("a test reads it"));

/// Names of block devices that were asked for.
static DEVICES: LazyLock<Mutex<HashMap<i64, Option<String>>>> = LazyLock::new(Mutex::default);

impl Meaning {
    /// What numbers of type `id` mean, if the name of the type says it.
    pub(crate) fn of(btf: &Btf, mut id: u32) -> Option<Self> {
        while let Some(ty) = btf.get(id) {
            if let Some((_, meaning)) = TYPES.iter().find(|(name, _)| *name == ty.name) {
                return Some(*meaning);
            }
            let is_another_name = matches!(
                ty.kind,
                Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Var
            );
            id = ty.target().filter(|_| is_another_name)?;
        }
        None
    }

    /// How a person reads `number`; the number itself where it has no name.
    pub(crate) fn text(self, number: i64) -> String {
        let name = match self {
            Meaning::Errno => self.name(-number).map(|name| format!("-{name}")),
            Meaning::OpenFlags => Some(flags(number)),
            Meaning::Device => device(number),
            _ => self.name(number).map(str::to_owned),
        };
        name.unwrap_or_else(|| number.to_string())
    }

    fn name(self, number: i64) -> Option<&'static str> {
        let names = TABLE.get(&self)?;
        names.get(&number.to_string()).map(String::as_str)
    }
}

fn flags(number: i64) -> String {
    let access = ["O_RDONLY", "O_WRONLY", "O_RDWR"];
    let mut left = number & !3;
    let access = access.get((number & 3) as usize).unwrap_or(&"O_ACCMODE");
    let mut names = vec![(*access).to_owned()];
    for (bits, name) in OPEN_FLAGS {
        if left & bits == *bits {
            names.push((*name).to_owned());
            left &= !bits;
        }
    }
    if left != 0 {
        names.push(format!("{left:#x}"));
    }
    names.join("|")
}

/// The block device of a number, `sda` or, of one that is not there, `8:0`; none of 0, which is no device.
fn device(number: i64) -> Option<String> {
    if number == 0 {
        return None;
    }
    let (major, minor) = (number >> 20, number & 0xf_ffff);
    let mut known = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    let name = known.entry(number).or_insert_with(|| {
        let place = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok()?;
        Some(place.file_name()?.to_string_lossy().into_owned())
    });
    Some(name.clone().unwrap_or_else(|| format!("{major}:{minor}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names() {
        for (meaning, number, text) in [
            (Meaning::Syscall, 0, "read"),
            (Meaning::Syscall, 262, "newfstatat"),
            (Meaning::Syscall, 100_000, "100000"),
            (Meaning::Errno, -2, "-ENOENT"),
            (Meaning::Errno, -512, "-ERESTARTSYS"),
            (Meaning::Errno, 3, "3"),
            (Meaning::Errno, -9999, "-9999"),
            (Meaning::OpenFlags, 0, "O_RDONLY"),
            (Meaning::OpenFlags, 0o2_000_000, "O_RDONLY|O_CLOEXEC"),
            (Meaning::OpenFlags, 0o1101, "O_WRONLY|O_CREAT|O_TRUNC"),
            (Meaning::OpenFlags, 0o4_010_002, "O_RDWR|O_SYNC"),
            (Meaning::OpenFlags, 0o10_000, "O_RDONLY|O_DSYNC"),
            (Meaning::OpenFlags, 1 << 30, "O_RDONLY|0x40000000"),
            (Meaning::Signal, 9, "SIGKILL"),
            (Meaning::Family, 10, "AF_INET6"),
            (Meaning::TcpState, 1, "ESTABLISHED"),
            (Meaning::Capability, 21, "CAP_SYS_ADMIN"),
            (Meaning::Device, 0, "0"),
            (Meaning::Device, 4095 << 20 | 7, "4095:7"),
        ] {
            assert_eq!(meaning.text(number), text, "{meaning:?} {number}");
        }
    }
}

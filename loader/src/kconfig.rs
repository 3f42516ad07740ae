//! Values of `.kconfig` externs: the kernel's configuration, and what libbpf makes up (`LINUX_*`).

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};

/// What the configuration says about one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `y`, `m` or `n`.
    Tristate(char),
    /// A number.
    Number(u64),
    /// A string, without its quotes.
    Text(String),
}

impl Setting {
    fn parse(text: &str) -> Option<Self> {
        let number = match (text.strip_prefix("0x"), text.strip_prefix('-')) {
            (Some(hex), _) => u64::from_str_radix(hex, 16).ok(),
            (_, Some(_)) => text.parse::<i64>().ok().map(|v| v as u64),
            _ => text.parse().ok(),
        };
        let quoted = || text.strip_prefix('"')?.strip_suffix('"');
        match text {
            "y" | "m" | "n" => text.chars().next().map(Setting::Tristate),
            _ => number
                .map(Setting::Number)
                .or_else(|| Some(Setting::Text(quoted()?.to_owned()))),
        }
    }

    /// As bytes of a variable; `letter`: a `char`, which takes a tristate's letter, where other types take
    /// libbpf's `enum libbpf_tristate`. A string is cut to fit with its NUL.
    pub fn bytes(&self, size: usize, letter: bool) -> Vec<u8> {
        let number = match self {
            Setting::Text(text) => {
                let mut bytes = text.as_bytes().to_vec();
                bytes.truncate(size.saturating_sub(1));
                bytes.resize(size, 0);
                return bytes;
            }
            Setting::Number(number) => *number,
            Setting::Tristate(c) if letter => u64::from(*c),
            Setting::Tristate(c) => match c {
                'y' => 1,
                'm' => 2,
                _ => 0,
            },
        };
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.resize(size, 0);
        bytes
    }
}

/// The running kernel's configuration, read when first asked for.
#[derive(Debug, Default)]
pub struct Kconfig {
    config: OnceCell<HashMap<String, String>>,
}

impl Kconfig {
    /// What `name` is set to; `None` if the kernel has no such option set.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub fn get(&self, name: &str) -> io::Result<Option<Setting>> {
        Ok(match name {
            "LINUX_KERNEL_VERSION" => Some(Setting::Number(u64::from(kernel_version()))),
            // Every runtime here provides bpf_get_attach_cookie; every x86-64 kernel wraps its syscalls.
            "LINUX_HAS_BPF_COOKIE" | "LINUX_HAS_SYSCALL_WRAPPER" => Some(Setting::Number(1)),
            _ => self
                .config()?
                .get(name)
                .and_then(|text| Setting::parse(text)),
        })
    }

    fn config(&self) -> io::Result<&HashMap<String, String>> {
        if self.config.get().is_none() {
            let text = read()?;
            let options = text.lines().filter_map(|line| line.split_once('='));
            let _ = self
                .config
                .set(options.map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
        }
        Ok(self.config.get_or_init(HashMap::new))
    }
}

fn read() -> io::Result<String> {
    let mut text = String::new();
    match fs::File::open("/proc/config.gz") {
        Ok(file) => flate2::read::GzDecoder::new(file).read_to_string(&mut text)?,
        Err(_) => {
            let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
            let path = format!("/boot/config-{}", release.trim());
            fs::File::open(path)?.read_to_string(&mut text)?
        }
    };
    Ok(text)
}

/// The running kernel's version as `KERNEL_VERSION` encodes it.
pub fn kernel_version() -> u32 {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    version_code(
        &read("/proc/sys/kernel/osrelease"),
        &read("/proc/sys/kernel/version"),
    )
}

/// Debian's release (`6.1.0-56-amd64`) hides the patch level, its version (`… Debian 6.1.192-2 …`) tells it.
fn version_code(release: &str, version: &str) -> u32 {
    let text = version
        .split_once("Debian ")
        .map_or(release, |(_, rest)| rest);
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|n| n.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let (major, minor, patch) = (next(), next(), next());
    major << 16 | minor << 8 | patch.min(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_encoded_as_the_kernel_does() {
        let debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2025-01-01)";
        assert_eq!(
            version_code("6.1.0-56-amd64", debian),
            6 << 16 | 1 << 8 | 192
        );
        assert_eq!(version_code("6.12.300", "#1"), 6 << 16 | 12 << 8 | 255);
        assert_eq!(version_code("7.0-rc1", ""), 7 << 16);
    }

    #[test]
    fn options_are_numbers_tristates_or_text() {
        let bytes = |text, size| Setting::parse(text).map(|s| s.bytes(size, false));
        assert_eq!(bytes("y", 4), Some(vec![1, 0, 0, 0]));
        assert_eq!(bytes("m", 1), Some(vec![2]));
        assert_eq!(bytes("1000", 2), Some(vec![0xe8, 3]));
        assert_eq!(bytes("0xff", 1), Some(vec![255]));
        assert_eq!(bytes("-1", 8), Some(vec![255; 8]));
        assert_eq!(bytes("\"text\"", 4), Some(b"tex\0".to_vec()));
        assert_eq!(bytes("nonsense", 1), None);
        assert_eq!(
            Setting::parse("y").map(|s| s.bytes(1, true)),
            Some(b"y".to_vec())
        );
    }

    #[test]
    fn what_libbpf_makes_up_needs_no_configuration() {
        let kconfig = Kconfig::default();
        let version = kconfig.get("LINUX_KERNEL_VERSION").unwrap();
        assert!(matches!(version, Some(Setting::Number(v)) if v > 5 << 16));
        let cookie = kconfig.get("LINUX_HAS_BPF_COOKIE").unwrap();
        assert_eq!(cookie, Some(Setting::Number(1)));
    }
}

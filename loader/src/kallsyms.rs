//! `/proc/kallsyms`: names and places of what the kernel has.
//!
//! The kernel takes longer to write it than most tools take to load. So the names of functions are [kept](crate::cache), for this
//! boot and the kernel modules that there are.

use std::fs;
use std::io;

use sha2::{Digest, Sha256};

use crate::cache::{Cache, Kind};

const PATH: &str = "/proc/kallsyms";

/// The names of the kernel's functions.
#[derive(Debug)]
pub(crate) struct Functions {
    /// A line for each, `NAME` or `NAME [MODULE]`; the first one is empty.
    names: String,
}

impl Functions {
    /// Those of the running kernel, if it tells.
    pub(crate) fn read() -> Option<Self> {
        let kept = Cache::open().ok().zip(key());
        let names = kept
            .as_ref()
            .and_then(|(cache, key)| cache.get(Kind::Functions, key));
        if let Some(names) = names.and_then(|names| String::from_utf8(names).ok()) {
            return Some(Self { names });
        }
        let functions = Self::of(&fs::read_to_string(PATH).ok()?);
        // A module may have come or gone meanwhile.
        if let Some((cache, before)) = kept
            && key().is_some_and(|after| after == before)
        {
            // Another time, then.
            let _ = cache.keep(Kind::Functions, &before, functions.names.as_bytes());
        }
        Some(functions)
    }

    /// Those that `text`, as of `/proc/kallsyms`, lists.
    fn of(text: &str) -> Self {
        let mut names = String::from("\n");
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace().skip(1);
            let is_function = words.next().is_some_and(|kind| "tTwW".contains(kind));
            let (Some(name), place) = (words.next(), words.next()) else {
                continue;
            };
            // eBPF's and trampolines come and go.
            let stays = place.is_none_or(|place| place != "[bpf]" && !place.starts_with("[__"));
            if is_function && stays {
                names.push_str(name);
                if let Some(place) = place {
                    names.extend([" ", place]);
                }
                names.push('\n');
            }
        }
        Self { names }
    }

    /// How many have `name`; `MODULE:NAME` is one of a module's.
    pub(crate) fn count(&self, name: &str) -> usize {
        let (line, ends): (_, &[&str]) = match name.split_once(':') {
            Some((module, name)) => (format!("\n{name} [{module}]"), &["\n"]),
            None => (format!("\n{name}"), &["\n", " "]),
        };
        let found = self.names.match_indices(&line);
        let is_whole = |(at, line): &(usize, &str)| {
            let rest = &self.names[at + line.len()..];
            ends.iter().any(|end| rest.starts_with(end))
        };
        found.filter(is_whole).count()
    }
}

/// What the names depend on, but for eBPF's.
fn key() -> Option<String> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    // Boots may have all one name, as in some containers.
    let version = fs::read("/proc/version").ok()?;
    let modules = fs::read_to_string("/proc/modules").ok()?;
    let mut hash = Sha256::new();
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(boot);
    hash.update(version);
    for module in modules.lines() {
        let words: Vec<&str> = module.split(' ').collect();
        // Who uses it changes. Where it lies tells a module from a later one of its name.
        if let [name, size, _, _, state, address, ..] = words[..] {
            hash.update([name, size, state, address, ""].join(" "));
        }
    }
    let digest = hash.finalize();
    let digest = digest.iter().map(|byte| format!("{byte:02x}"));
    Some(digest.collect())
}

/// Where symbol `name` is, if it is there; 0 if that is hidden.
pub(crate) fn address(name: &str) -> io::Result<Option<u64>> {
    let symbols = fs::read_to_string(PATH)?;
    Ok(symbols.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = words.next()?;
        (words.nth(1)? == name).then(|| u64::from_str_radix(address, 16).ok())?
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KALLSYMS: &str = "ffffffff81000000 T vfs_read
ffffffff81000010 t vfs_reader
ffffffff81000020 d vfs_write
ffffffff81000030 t show
ffffffffc1000040 t show\t[ext4]
ffffffffc1000050 t my_vfs_read\t[ext4]
ffffffffc2000000 t bpf_prog_6deef7357e7b4530_show\t[bpf]
ffffffffc3000000 t vfs_read\t[__builtin__ftrace]
";

    #[test]
    fn functions_are_counted_by_whole_names() {
        let functions = Functions::of(KALLSYMS);
        for (name, count) in [
            ("vfs_read", 1),
            ("vfs_write", 0),
            ("read", 0),
            ("show", 2),
            ("ext4:show", 1),
            ("xfs:show", 0),
            ("bpf_prog_6deef7357e7b4530_show", 0),
        ] {
            assert_eq!(functions.count(name), count, "{name}");
        }
    }
}

//! `/proc/kallsyms`: names and places of what the kernel has.
//!
//! The kernel takes longer to write it than most tools take to load. So the names of functions are [kept](crate::cache), for this
//! boot and the kernel modules that there are.

use std::fs;
use std::io;
use std::ops::Deref;

use memmap2::Mmap;

use crate::cache::{self, Cache};

const PATH: &str = "/proc/kallsyms";

/// The names of the kernel's functions.
#[derive(Debug)]
pub(crate) struct Functions {
    /// A line for each, `NAME` or `NAME [MODULE]`, in order. A name's characters are all greater than a space.
    lines: Lines,
}

#[derive(Debug)]
enum Lines {
    Read(Vec<u8>),
    Kept(Mmap),
}

impl Deref for Lines {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Read(lines) => lines,
            Self::Kept(lines) => lines,
        }
    }
}

impl Functions {
    /// Those of the running kernel, if it tells.
    pub(crate) fn read() -> Option<Self> {
        let kept = Cache::open().ok().zip(key());
        let lines = kept.as_ref().and_then(|(cache, key)| cache.get(key));
        if let Some(lines) = lines {
            return Some(Self {
                lines: Lines::Kept(lines),
            });
        }
        let functions = Self::of(&fs::read_to_string(PATH).ok()?);
        // A module may have come or gone meanwhile.
        if let Some((cache, before)) = kept
            && key().is_some_and(|after| after == before)
        {
            // Another time, then.
            let _ = cache.keep(&before, &functions.lines);
        }
        Some(functions)
    }

    /// Those that `text`, as of `/proc/kallsyms`, lists.
    fn of(text: &str) -> Self {
        let function = |line: &str| {
            let mut words = line.split_ascii_whitespace().skip(1);
            let is_function = words.next().is_some_and(|kind| "tTwW".contains(kind));
            let (name, place) = (words.next()?, words.next());
            // eBPF's and trampolines come and go.
            let stays = place.is_none_or(|place| place != "[bpf]" && !place.starts_with("[__"));
            let place = place.map_or(String::new(), |place| format!(" {place}"));
            (is_function && stays).then(|| format!("{name}{place}\n"))
        };
        let mut lines: Vec<String> = text.lines().filter_map(function).collect();
        lines.sort_unstable();
        Self {
            lines: Lines::Read(lines.concat().into_bytes()),
        }
    }

    /// How many have `name`; `MODULE:NAME` is one of a module's.
    pub(crate) fn count(&self, name: &str) -> usize {
        let (place, name) = match name.split_once(':') {
            Some((module, name)) => (Some(format!("[{module}]")), name),
            None => (None, name),
        };
        let named = self.from(name.as_bytes()).map(name_and_place);
        let named = named.take_while(|(other, _)| *other == name.as_bytes());
        named
            .filter(|(_, found)| {
                place
                    .as_ref()
                    .is_none_or(|place| *found == place.as_bytes())
            })
            .count()
    }

    /// The lines from the first one on whose name is not less than `name`.
    fn from(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let (mut low, mut high) = (0, self.lines.len());
        while low < high {
            let middle = low.midpoint(high);
            let before = self.lines[low..middle]
                .iter()
                .rposition(|byte| *byte == b'\n');
            let start = before.map_or(low, |at| low + at + 1);
            let line = lines(&self.lines[start..]).next().unwrap_or_default();
            match name_and_place(line).0 < name {
                true => low = (start + line.len() + 1).min(high),
                false => high = start,
            }
        }
        lines(&self.lines[low..])
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
}

/// Of a line; the place is empty in the kernel itself.
fn name_and_place(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &[]),
    }
}

/// What the names depend on, but for eBPF's.
fn key() -> Option<String> {
    let boot = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    // Boots may have all one name, as in some containers.
    let version = fs::read("/proc/version").ok()?;
    let modules = fs::read_to_string("/proc/modules").ok()?;
    let mut parts = vec![env!("CARGO_PKG_VERSION").as_bytes(), &boot, &version];
    for module in modules.lines() {
        let words: Vec<&str> = module.split(' ').collect();
        // Who uses it changes. Where it lies tells a module from a later one of its name.
        if let [name, size, _, _, state, address, ..] = words[..] {
            parts.extend([name, size, state, address].map(str::as_bytes));
        }
    }
    Some(cache::key(parts))
}

/// Where symbols `name` are, each place once, the kernel's own first; 0 where that is hidden.
pub(crate) fn addresses(name: &str) -> io::Result<Vec<u64>> {
    Ok(addresses_in(&fs::read_to_string(PATH)?, name))
}

/// All of it.
pub(crate) fn text() -> io::Result<String> {
    fs::read_to_string(PATH)
}

fn addresses_in(text: &str, name: &str) -> Vec<u64> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (address, is_it) = (words.next(), words.nth(1) == Some(name));
        let address = address.filter(|_| is_it);
        let address = address.and_then(|address| u64::from_str_radix(address, 16).ok());
        found.extend(address.filter(|address| !found.contains(address)));
    }
    found
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
    fn a_symbol_may_be_at_several_places() {
        let show = [0xffff_ffff_8100_0030, 0xffff_ffff_c100_0040];
        assert_eq!(addresses_in(KALLSYMS, "show"), show);
        assert_eq!(addresses_in(KALLSYMS, "vfs_write"), [0xffff_ffff_8100_0020]);
        assert!(addresses_in(KALLSYMS, "vfs").is_empty());
    }

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
            ("zzz", 0),
            ("", 0),
        ] {
            assert_eq!(functions.count(name), count, "{name}");
        }
        assert_eq!(Functions::of("").count("vfs_read"), 0);
    }
}

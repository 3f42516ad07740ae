//! Places by a pattern: functions of the kernel that ftrace knows, as libbpf finds them, and functions of a file.

use std::collections::HashSet;
use std::fs;
use std::ops::Range;

use super::elf;
use crate::kallsyms;

/// Where tracefs may be.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// Places in the kernel where no kprobe may be.
const FORBIDDEN: &str = "/sys/kernel/debug/kprobes/blacklist";

/// A function that a pattern is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// Where it begins: an address in the kernel, or an offset in a file.
    pub(crate) at: u64,
}

/// The kernel's functions like `pattern`, each once, and how many of them are left out because no kprobe may be there.
pub(crate) fn in_kernel(pattern: &str) -> Result<(Vec<Function>, usize), String> {
    let mut functions = match tracefs("available_filter_functions_addrs") {
        Ok(text) => with_addresses(&text, pattern),
        // Before 6.5 only names are told.
        Err(_) => {
            let names = tracefs("available_filter_functions")?;
            let symbols = kallsyms::text().map_err(|e| format!("/proc/kallsyms: {e}"))?;
            with_symbols(&names, &symbols, pattern)
        }
    };
    if functions.is_empty() {
        return Err(format!("ftrace knows no function like {pattern}"));
    }
    if functions.iter().any(|function| function.at == 0) {
        return Err("the kernel does not tell where its functions are (kptr_restrict)".to_owned());
    }
    let forbidden = fs::read_to_string(FORBIDDEN).unwrap_or_default();
    let forbidden = ranges(&forbidden);
    let all = functions.len();
    functions.retain(|f| !forbidden.iter().any(|range| range.contains(&f.at)));
    let left_out = all - functions.len();
    match functions.is_empty() {
        true => Err(format!("no kprobe may be at any function like {pattern}")),
        false => Ok((functions, left_out)),
    }
}

/// Functions like `pattern` of the file at `path`.
pub(crate) fn in_file(path: &str, pattern: &str) -> Result<Vec<Function>, String> {
    let bytes = elf::read(path)?;
    let file = elf::parse(path, &bytes)?;
    let functions: Vec<_> = elf::functions(&file, |name| is_like(name, pattern))?
        .into_iter()
        .map(|(name, at)| Function { name, at })
        .collect();
    match functions.is_empty() {
        true => Err(format!("{path} has no function like {pattern}")),
        false => Ok(functions),
    }
}

fn tracefs(file: &str) -> Result<String, String> {
    let mut why = String::new();
    for folder in TRACEFS {
        let path = format!("{folder}/{file}");
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(text),
            Err(e) if why.is_empty() => why = format!("{path}: {e}"),
            Err(_) => {}
        }
    }
    Err(why)
}

/// Of lines `ADDRESS NAME [MODULE]`.
fn with_addresses(text: &str, pattern: &str) -> Vec<Function> {
    let mut known = HashSet::new();
    let function = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (at, name) = (words.next()?, words.next()?);
        let at = u64::from_str_radix(at.trim_start_matches("0x"), 16).ok()?;
        let is_new = is_like(name, pattern) && known.insert(at);
        is_new.then(|| Function {
            name: name.to_owned(),
            at,
        })
    };
    text.lines().filter_map(function).collect()
}

/// Of lines `NAME [MODULE]`, with their addresses from `symbols`, `/proc/kallsyms`.
fn with_symbols(names: &str, symbols: &str, pattern: &str) -> Vec<Function> {
    let known = names.lines().filter_map(|line| {
        let name = line.split_ascii_whitespace().next()?;
        is_like(name, pattern).then_some(name)
    });
    let known: HashSet<_> = known.collect();
    let mut places = HashSet::new();
    let mut found = Vec::new();
    for line in symbols.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(at), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let at = u64::from_str_radix(at, 16).unwrap_or(0);
        let is_it = "tTwW".contains(kind) && known.contains(name);
        if is_it && (at == 0 || places.insert(at)) {
            found.push(Function {
                name: name.to_owned(),
                at,
            });
        }
    }
    found
}

/// Of lines `0xFROM-0xTO NAME`.
fn ranges(text: &str) -> Vec<Range<u64>> {
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let range = |line: &str| {
        let (from, to) = line.split_ascii_whitespace().next()?.split_once('-')?;
        Some(number(from)?..number(to)?)
    };
    text.lines().filter_map(range).collect()
}

/// Whether `name` is like `pattern`, in which `*` is any text, and `?` any character.
fn is_like(name: &str, pattern: &str) -> bool {
    let (name, pattern) = (name.as_bytes(), pattern.as_bytes());
    let (mut at, mut next) = (0, 0);
    // Behind the last `*`, and from where on its text was tried to end.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(next) {
            Some(b'*') => {
                next += 1;
                star = Some((next, at));
            }
            Some(c) if *c == b'?' || *c == name[at] => (at, next) = (at + 1, next + 1),
            _ => match &mut star {
                Some((behind, from)) => {
                    *from += 1;
                    (at, next) = (*from, *behind);
                }
                None => return false,
            },
        }
    }
    pattern[next..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_any_text_and_any_character() {
        for (name, pattern, is) in [
            ("vfs_read", "vfs_read", true),
            ("vfs_read", "vfs_*", true),
            ("vfs_read", "*read", true),
            ("vfs_read", "*f*_*d", true),
            ("vfs_read", "vfs_rea?", true),
            ("vfs_read", "vfs_read?", false),
            ("vfs_read", "vfs_read*", true),
            ("vfs_readv", "vfs_read", false),
            ("vfs_readv", "*vfs_read", false),
            ("aab", "*ab", true),
            ("", "*", true),
            ("a", "", false),
        ] {
            assert_eq!(is_like(name, pattern), is, "{name} {pattern}");
        }
    }

    fn named(functions: &[Function]) -> Vec<(&str, u64)> {
        functions.iter().map(|f| (&f.name[..], f.at)).collect()
    }

    #[test]
    fn functions_of_the_kernel_are_each_there_once() {
        let text = "ffffffff81000004 vfs_read\nffffffff81000014 vfs_write\nffffffffc1000004 vfs_mine [mod]\nffffffff81000004 vfs_alias\n";
        let found = with_addresses(text, "vfs_*");
        let expected = [
            ("vfs_read", 0xffff_ffff_8100_0004),
            ("vfs_write", 0xffff_ffff_8100_0014),
            ("vfs_mine", 0xffff_ffff_c100_0004),
        ];
        assert_eq!(named(&found), expected);
        let symbols = "ffffffff81000000 T vfs_read\nffffffff81000000 T vfs_write\nffffffff81000010 t vfs_read\nffffffff81000020 t vfs_untraced\nffffffff81000030 d vfs_write\nffffffffc1000000 t vfs_mine\t[mod]\n";
        let names = "vfs_read\nvfs_write\nvfs_mine [mod]\nother\n";
        let found = with_symbols(names, symbols, "vfs_*");
        let expected = [
            ("vfs_read", 0xffff_ffff_8100_0000),
            ("vfs_read", 0xffff_ffff_8100_0010),
            ("vfs_mine", 0xffff_ffff_c100_0000),
        ];
        assert_eq!(named(&found), expected);
        // Where addresses are hidden, that is seen.
        let hidden = with_symbols("f\n", "0000000000000000 t f\n", "f");
        assert_eq!(named(&hidden), [("f", 0)]);
    }

    #[test]
    fn forbidden_places_are_ranges() {
        let text = "0xffffffff81000000-0xffffffff81000010\tf\n";
        assert_eq!(ranges(text), [0xffff_ffff_8100_0000..0xffff_ffff_8100_0010]);
    }
}

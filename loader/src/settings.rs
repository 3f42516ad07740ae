//! What a person sets before an object is loaded: values of its globals, by name and type, and sizes of its maps.

use std::fmt;

use abi::manifest::{DataKind, Map, Symbol};
use bpf2wasm::btf::Btf;

use crate::btf_value;
use crate::variables;

/// The settings, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Globals: name and value ([`btf_value::encode`] says how it is written).
    pub globals: Vec<(String, String)>,
    /// Maps: name and `max_entries`.
    pub entries: Vec<(String, u32)>,
}

/// Why settings do not fit an object.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// It has no such global; those it has.
    NoGlobal(String, Vec<String>),
    /// It has several such globals; what each is called.
    Several(String, Vec<String>),
    /// It has no such map; those it has.
    NoMap(String, Vec<String>),
    /// The value is not one of the global's type.
    Value(String, String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &[String]| match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        };
        match self {
            Error::NoGlobal(name, known) => {
                let hint = hint(name, known);
                write!(f, "no variable {name}; {hint} {}", list(known))
            }
            Error::Several(name, known) => write!(
                f,
                "{} variables are called {name}: say {}",
                known.len(),
                known.join(" or ")
            ),
            Error::NoMap(name, known) => {
                let hint = hint(name, known);
                write!(f, "no map {name}; {hint} {}", list(known))
            }
            Error::Value(name, why) => write!(f, "variable {name}: {why}"),
        }
    }
}

impl std::error::Error for Error {}

/// `did you mean X? There are`, if a name is close to one of those that there are.
fn hint(name: &str, known: &[String]) -> String {
    let near = known.iter().map(|known| (distance(name, known), known));
    match near.min() {
        Some((distance, known)) if distance <= name.len() / 2 => {
            format!("did you mean {known}? There are")
        }
        _ => "there are".to_owned(),
    }
}

/// How many letters one has to insert, remove or change to make one word of another.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl Settings {
    /// Whether all that is set is there in an object with these maps.
    pub fn check(&self, maps: &[Map], btf: Option<&Btf>) -> Result<(), Error> {
        for (name, text) in &self.globals {
            let all = maps
                .iter()
                .flat_map(|map| own(map).map(move |symbol| (map, symbol)));
            let meant = all.filter(|(map, symbol)| variables::is_meant(name, map, symbol));
            match meant.collect::<Vec<_>>()[..] {
                [] => return Err(Error::NoGlobal(name.clone(), globals(maps))),
                [(_, symbol)] => drop(encode(symbol, btf, text)?),
                ref several => {
                    let called = several
                        .iter()
                        .map(|(map, s)| variables::among(maps, map, s));
                    return Err(Error::Several(name.clone(), called.collect()));
                }
            }
        }
        let proper = || maps.iter().filter(|map| map.data.is_none());
        for (name, _) in &self.entries {
            if !proper().any(|map| map.name == *name) {
                let known = proper().map(|map| map.name.clone()).collect();
                return Err(Error::NoMap(name.clone(), known));
            }
        }
        Ok(())
    }

    /// Writes the values of `section`'s globals into its initial bytes. Which are meant, [`Settings::check`] has found to be clear.
    pub fn apply(&self, section: &Map, btf: Option<&Btf>, bytes: &mut [u8]) -> Result<(), Error> {
        for (name, text) in &self.globals {
            let mut meant = own(section);
            let Some(symbol) = meant.find(|s| variables::is_meant(name, section, s)) else {
                continue;
            };
            let value = encode(symbol, btf, text)?;
            let from = symbol.offset as usize;
            let place = bytes.get_mut(from..from + value.len());
            let place = place
                .ok_or_else(|| Error::Value(name.clone(), "outside its section".to_owned()))?;
            place.copy_from_slice(&value);
        }
        Ok(())
    }

    /// The `max_entries` of map `name`, if it is set.
    pub fn entries(&self, name: &str) -> Option<u32> {
        let set = self.entries.iter().rfind(|(map, _)| map == name);
        set.map(|(_, entries)| *entries)
    }
}

/// Globals of a section whose values are the object's own.
fn own(section: &Map) -> impl Iterator<Item = &Symbol> {
    let data = section.data.as_ref();
    let data = data.filter(|data| data.kind != DataKind::Kconfig);
    data.into_iter().flat_map(|data| &data.symbols)
}

fn globals(maps: &[Map]) -> Vec<String> {
    let called = |map| own(map).map(move |symbol| variables::among(maps, map, symbol));
    maps.iter().flat_map(called).collect()
}

fn encode(symbol: &Symbol, btf: Option<&Btf>, text: &str) -> Result<Vec<u8>, Error> {
    let btf = btf.filter(|_| symbol.type_id != 0);
    let value = btf
        .ok_or_else(|| "its type is unknown".to_owned())
        .and_then(|btf| btf_value::encode(btf, symbol.type_id, text));
    value.map_err(|why| Error::Value(symbol.name.clone(), why))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::open::Input;

    fn settings(globals: &[(&str, &str)], entries: &[(&str, u32)]) -> Settings {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let sized = |(name, entries): &(&str, u32)| ((*name).to_owned(), *entries);
        Settings {
            globals: globals.iter().map(own).collect(),
            entries: entries.iter().map(sized).collect(),
        }
    }

    #[test]
    fn settings_of_a_tool_reach_its_section_or_are_refused() {
        let input = Input::open(Path::new("/usr/sbin/opensnoop"), None).unwrap();
        let (maps, btf) = (input.manifest.as_ref().unwrap().maps.clone(), input.btf());
        let check = |settings: Settings| settings.check(&maps, btf.as_ref());
        let good = settings(&[("targ_pid", "77")], &[("start", 5)]);
        check(good.clone()).unwrap();
        let section = maps.iter().find(|map| map.name == ".rodata").unwrap();
        let mut bytes = vec![0; section.value_size as usize];
        good.apply(section, btf.as_ref(), &mut bytes).unwrap();
        let at = own(section).find(|s| s.name == "targ_pid").unwrap().offset as usize;
        assert_eq!(bytes[at..at + 4], [77, 0, 0, 0]);
        assert_eq!(good.entries("start"), Some(5));
        let named = settings(&[(".rodata.targ_pid", "78")], &[]);
        check(named.clone()).unwrap();
        named.apply(section, btf.as_ref(), &mut bytes).unwrap();
        assert_eq!(bytes[at..at + 4], [78, 0, 0, 0]);
        let refusal = |settings| check(settings).unwrap_err().to_string();
        assert_eq!(
            refusal(settings(&[("pid", "1")], &[])),
            "no variable pid; there are targ_pid, targ_tgid, targ_uid, targ_failed"
        );
        assert_eq!(
            refusal(settings(&[("targ_failed", "2")], &[])),
            "variable targ_failed: 2: does not fit 1 bits"
        );
        assert_eq!(
            refusal(settings(&[], &[("stacks", 1)])),
            "no map stacks; did you mean start? There are start, events"
        );
    }

    #[test]
    fn a_name_of_two_variables_is_refused_with_both() {
        let input = Input::open(Path::new("/usr/sbin/opensnoop"), None).unwrap();
        let mut maps = input.manifest.as_ref().unwrap().maps.clone();
        let section = maps.iter_mut().find(|map| map.name == ".rodata").unwrap();
        let data = section.data.as_mut().unwrap();
        let pid = data
            .symbols
            .iter()
            .find(|s| s.name == "targ_pid")
            .unwrap()
            .offset;
        let tgid = data
            .symbols
            .iter_mut()
            .find(|s| s.name == "targ_tgid")
            .unwrap();
        tgid.name = "targ_pid".to_owned();
        let tgid = tgid.offset;
        let check = |name: &str| settings(&[(name, "1")], &[]).check(&maps, input.btf().as_ref());
        let (one, other) = (pid.min(tgid), pid.max(tgid));
        assert_eq!(
            check("targ_pid").unwrap_err().to_string(),
            format!("2 variables are called targ_pid: say targ_pid@{one} or targ_pid@{other}")
        );
        check(&format!("targ_pid@{one}")).unwrap();
        check(&format!(".rodata.targ_pid@{other}")).unwrap();
    }
}

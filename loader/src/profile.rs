//! What the tools of libbpf-tools decide in their `main()`: which programs, where, with which values; and how their data is
//! shown. The table is `loader/tools.toml`.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use abi::manifest::Manifest;
use bpf2wasm::btf::Btf;
use serde::Deserialize;

use crate::attach::Choice;
use crate::kallsyms::{Functions, addresses};
use crate::meaning::Meaning;
use crate::open::Input;
use crate::settings::Settings;

const TABLE: &str = include_str!("../tools.toml");

/// A tool's own decisions. An object that is no known tool's has none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Programs to attach, alternatives included; none meaning those the object loads by default.
    pub programs: Vec<String>,
    /// Programs of which it loads one: of each list, the first that this kernel can attach.
    pub alternatives: Vec<Vec<String>>,
    /// Sections for programs: the first whose function or file is here.
    pub places: BTreeMap<String, Vec<String>>,
    /// Values of globals; `&NAME` is the address of a kernel symbol.
    pub set: BTreeMap<String, String>,
    /// Sizes of maps.
    pub entries: BTreeMap<String, u32>,
    /// Types of what maps send, by names in the object's BTF.
    pub events: BTreeMap<String, String>,
    /// Maps and variables that are the result; none meaning all.
    pub show: Vec<String>,
    /// The field by which tables are sorted, largest first.
    pub sort: Option<String>,
    /// Fields that say of which process an element is, by number or name: those of who reads are not shown.
    pub reader: Vec<String>,
    /// Seconds between two tables.
    pub interval: Option<f64>,
    /// Whether what was shown is counted anew.
    pub clear: bool,
    /// Unit of histograms.
    pub unit: Option<String>,
    /// Whether their slots are of one width.
    pub linear: bool,
    /// That width.
    pub step: Option<u64>,
    /// Names of the elements of arrays.
    pub labels: BTreeMap<String, Vec<String>>,
    /// What numbers mean: by map, of the fields of its elements or events; a key or value that has no fields is `key` or `value`.
    pub means: BTreeMap<String, BTreeMap<String, Meaning>>,
    /// All programs of the object that it is of, and their sections.
    pub knows: BTreeMap<String, String>,
    /// What is decided otherwise where a person sets something.
    pub when: Vec<When>,
    /// What of it does not hold for the object at hand, and why.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// Other decisions, where a variable is set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The variable: a flag.
    pub set: String,
    /// Then these are the programs.
    pub programs: Option<Vec<String>>,
    /// Then this is the result.
    pub show: Option<Vec<String>>,
    /// Then these are what numbers mean.
    pub means: Option<BTreeMap<String, BTreeMap<String, Meaning>>>,
}

/// Why a profile does not fit this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPlace {
    /// The program.
    pub program: String,
    /// Where it could have been attached.
    pub sections: Vec<String>,
}

impl std::fmt::Display for NoPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (program, sections) = (&self.program, self.sections.join(", "));
        write!(
            f,
            "program {program}: this host has none of {sections} (--at {program}=SECTION names another place)"
        )
    }
}

impl std::error::Error for NoPlace {}

impl Profile {
    /// The profile of the tool of this name.
    pub fn named(name: &str) -> Option<Self> {
        table().remove(name)
    }

    /// The profile of the tool that `input` is of, if it is a known one; else none's. What the object is not as that tool's was is
    /// given up, and noted: a newer version has other programs and variables under the same names.
    pub fn of(input: &Input) -> Self {
        let known = Profile::named(input.tool()).zip(input.manifest.as_ref());
        let Some((mut profile, manifest)) = known else {
            return Profile::default();
        };
        let about = format!("what is known of {}", input.tool());
        profile.fit_programs(manifest, &about);
        profile.fit_values(manifest, input.btf().as_ref(), &about);
        profile.fit_results(manifest, &about);
        profile
    }

    /// Which programs are alternatives, and what histograms are of, is known of these very programs; where one is to be, if it is there.
    fn fit_programs(&mut self, manifest: &Manifest, about: &str) {
        let section = |section: &str| section.trim_start_matches('?').to_owned();
        let programs = manifest.programs.iter();
        let own = programs.map(|p| (p.name.clone(), section(&p.section)));
        let own: BTreeMap<_, _> = own.collect();
        if self.knows.is_empty() || own == self.knows {
            return;
        }
        let other = own
            .iter()
            .find(|(name, at)| self.knows.get(*name) != Some(at));
        let missing = self.knows.iter().find(|(name, _)| !own.contains_key(*name));
        let why = match (other, missing) {
            (Some((name, at)), _) => format!("the object has {name} in {at}"),
            (_, missing) => {
                let name = missing.map_or("", |(name, _)| name);
                format!("the object has no program {name}")
            }
        };
        self.programs.clear();
        self.alternatives.clear();
        self.means.clear();
        for when in &mut self.when {
            (when.programs, when.means) = (None, None);
        }
        (self.unit, self.step, self.linear) = (None, None, false);
        let knows = &self.knows;
        self.places
            .retain(|name, _| own.get(name) == knows.get(name));
        let note = format!("{about} does not hold for its programs: {why}");
        self.notes.push(note);
    }

    /// Values hold for variables and maps that are there and take them.
    fn fit_values(&mut self, manifest: &Manifest, btf: Option<&Btf>, about: &str) {
        let mut wrong = Vec::new();
        let mut fits = |settings: Settings| {
            let checked = settings.check(&manifest.maps, btf);
            let noted = |why| wrong.push(format!("{about} does not hold: {why}"));
            checked.map_err(noted).is_ok()
        };
        self.set.retain(|name, value| {
            let value = if value.starts_with('&') { "0x0" } else { value };
            fits(Settings {
                globals: vec![(name.clone(), value.to_owned())],
                ..Settings::default()
            })
        });
        self.entries.retain(|name, entries| {
            fits(Settings {
                entries: vec![(name.clone(), *entries)],
                ..Settings::default()
            })
        });
        self.notes.extend(wrong);
    }

    /// What is the result, and what its parts are called, holds for maps and variables that are there.
    fn fit_results(&mut self, manifest: &Manifest, about: &str) {
        let data = manifest.maps.iter().filter_map(|map| map.data.as_ref());
        let variables = data.flat_map(|data| data.symbols.iter().map(|s| s.name.as_str()));
        let maps = manifest.maps.iter().map(|map| map.name.as_str());
        let known: BTreeSet<_> = maps.chain(variables).collect();
        let is_missing = |name: &&String| !known.contains(name.as_str());
        if let Some(name) = self.show.iter().find(is_missing) {
            let note = format!("{about} does not hold for its results: nothing is called {name}");
            self.notes.push(note);
            self.show.clear();
        }
        let shows = |when: &When| !when.show.iter().flatten().any(|name| is_missing(&name));
        self.when
            .retain(|when| shows(when) && !is_missing(&&when.set));
        self.labels.retain(|name, _| !is_missing(&name));
    }

    /// Decides otherwise where `settings` has it so.
    pub fn consider(&mut self, settings: &Settings) {
        let is_set = |when: &When| {
            let mut globals = settings.globals.iter().rev();
            let value = globals.find(|(name, _)| *name == when.set);
            value.is_some_and(|(_, value)| !matches!(&value[..], "0" | "false"))
        };
        for when in self.when.iter().filter(|when| is_set(when)) {
            if let Some(programs) = &when.programs {
                self.programs.clone_from(programs);
            }
            if let Some(show) = &when.show {
                self.show.clone_from(show);
            }
            if let Some(means) = &when.means {
                self.means.clone_from(means);
            }
        }
    }

    /// Adds its decisions to `choice`: what a person chose stands.
    pub fn complete(&self, choice: &mut Choice) -> Result<(), NoPlace> {
        choice.usual.clone_from(&self.programs);
        choice.alternatives.clone_from(&self.alternatives);
        let functions: LazyCell<_> = LazyCell::new(Functions::read);
        for (program, sections) in &self.places {
            let is_it = |(name, _): &(String, String)| name == program;
            let is_out = !choice.programs.is_empty() && !choice.programs.contains(program);
            if is_out || choice.sections.iter().any(is_it) {
                continue;
            }
            let here = sections.iter().find(|section| is_here(section, &functions));
            let section = here.ok_or_else(|| NoPlace {
                program: program.clone(),
                sections: sections.clone(),
            })?;
            choice.sections.push((program.clone(), section.clone()));
        }
        Ok(())
    }

    /// Adds its values to `settings`: what a person set comes last, and stands.
    pub fn preset(&self, settings: &mut Settings) {
        let value = |(name, value): (&String, &String)| {
            let value = match value.strip_prefix('&') {
                Some(symbol) => {
                    let first = addresses(symbol).ok()?.first().copied();
                    format!("{:#x}", first.filter(|a| *a != 0)?)
                }
                None => value.clone(),
            };
            Some((name.clone(), value))
        };
        let globals: Vec<_> = self.set.iter().filter_map(value).collect();
        settings.globals.splice(0..0, globals);
        let entries: Vec<_> = self.entries.clone().into_iter().collect();
        settings.entries.splice(0..0, entries);
    }
}

fn table() -> BTreeMap<String, Profile> {
    toml::from_str(TABLE).expect("a test reads it")
}

/// Whether the function or file that `section` names is here; what else it may name is looked for when it is attached.
fn is_here(section: &str, functions: &LazyCell<Option<Functions>>) -> bool {
    match section.split_once('/') {
        Some(("kprobe" | "kretprobe" | "fentry" | "fexit", function)) => functions
            .as_ref()
            .is_some_and(|functions| functions.count(function) > 0),
        Some(("uprobe" | "uretprobe" | "usdt", place)) => {
            let path = place.split(':').next().unwrap_or_default();
            Path::new(path).exists()
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_is_read_and_fits_its_tool() {
        for (name, profile) in table() {
            let path = Path::new("/usr/sbin").join(&name);
            let input = Input::open(&path, None).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(Profile::of(&input), profile, "{name}");
            let manifest = input.manifest.as_ref().unwrap();
            let others = profile.when.iter();
            let others = others.flat_map(|when| when.programs.iter().flatten());
            let programs = profile.programs.iter().chain(profile.places.keys());
            let programs = programs.chain(profile.alternatives.iter().flatten());
            for program in programs.chain(others) {
                let known = manifest.programs.iter().any(|p| p.name == *program);
                assert!(known, "{name}: no program {program}");
            }
            let mut settings = Settings::default();
            profile.preset(&mut settings);
            let checked = settings.check(&manifest.maps, input.btf().as_ref());
            checked.unwrap_or_else(|e| panic!("{name}: {e}"));
            let symbols = manifest.maps.iter().filter_map(|map| map.data.as_ref());
            let symbols = symbols.flat_map(|data| data.symbols.iter().map(|s| &s.name));
            let maps = manifest.maps.iter().map(|map| &map.name);
            let known: Vec<_> = symbols.chain(maps).collect();
            let others = profile.when.iter();
            let others = others.flat_map(|when| when.show.iter().flatten().chain([&when.set]));
            let shown = profile.show.iter().chain(profile.labels.keys());
            let shown = shown.chain(profile.means.keys());
            // What a number means is known of this very object.
            let is_known = profile.means.is_empty() || !profile.knows.is_empty();
            assert!(is_known, "{name}: `means` wants `knows`");
            for shown in shown.chain(others) {
                assert!(known.contains(&shown), "{name}: nothing is called {shown}");
            }
        }
    }

    /// As of another version of a tool.
    #[test]
    fn what_does_not_fit_is_given_up_and_said() {
        let fitted = |tool: &str, change: &dyn Fn(&mut Manifest)| {
            let path = Path::new("/usr/sbin").join(tool);
            let mut input = Input::open(&path, None).unwrap();
            change(input.manifest.as_mut().unwrap());
            Profile::of(&input)
        };
        let profile = fitted("biosnoop", &|m| {
            m.programs[0].section = "tp_btf/new".to_owned()
        });
        assert!(profile.programs.is_empty() && profile.places.is_empty());
        assert_eq!(
            profile.notes,
            [
                "what is known of biosnoop does not hold for its programs: the object has blk_account_io_start in tp_btf/new"
            ]
        );
        let profile = fitted("biosnoop", &|m| drop(m.programs.pop()));
        assert!(profile.notes[0].ends_with("the object has no program block_rq_complete"));
        // Which is where it was.
        assert!(!profile.places.is_empty());
        let rename = |m: &mut Manifest, name: &str| {
            let data = m.maps.iter_mut().filter_map(|map| map.data.as_mut());
            let mut symbols = data.flat_map(|data| &mut data.symbols);
            let symbol = symbols.find(|s| s.name == name).unwrap();
            symbol.name = "other".to_owned();
        };
        let profile = fitted("opensnoop", &|m| rename(m, "targ_uid"));
        assert!(profile.set.is_empty());
        assert!(
            profile.notes[0].contains("no variable targ_uid"),
            "{:?}",
            profile.notes
        );
        let profile = fitted("softirqs", &|m| rename(m, "counts"));
        assert!(profile.show.is_empty() && !profile.labels.contains_key("counts"));
        assert_eq!(profile.notes.len(), 1, "{:?}", profile.notes);
    }

    #[test]
    fn a_person_s_choice_stands() {
        let profile: Profile = toml::from_str(
            "set = { a = \"1\" }\n[places]\np = [\"uprobe//no/such/file:f\", \"tp_btf/t\"]",
        )
        .unwrap();
        let mut choice = Choice::default();
        profile.complete(&mut choice).unwrap();
        assert_eq!(choice.sections, [("p".to_owned(), "tp_btf/t".to_owned())]);
        choice.sections = vec![("p".to_owned(), "kprobe/f".to_owned())];
        profile.complete(&mut choice).unwrap();
        assert_eq!(choice.sections.len(), 1);
        let mut settings = Settings {
            globals: vec![("a".to_owned(), "2".to_owned())],
            ..Settings::default()
        };
        profile.preset(&mut settings);
        assert_eq!(settings.globals.last().unwrap().1, "2");
    }

    #[test]
    fn what_a_person_sets_can_decide() {
        let shown = |set: &[&str]| {
            let mut profile = Profile::named("softirqs").unwrap();
            let pair = |value: &&str| ("targ_dist".to_owned(), (*value).to_owned());
            profile.consider(&Settings {
                globals: set.iter().map(pair).collect(),
                ..Settings::default()
            });
            profile.show
        };
        assert_eq!(shown(&[]), ["counts"]);
        assert_eq!(shown(&["true"]), ["hists"]);
        assert_eq!(shown(&["1", "0"]), ["counts"]);
    }

    #[test]
    fn a_place_that_is_not_here_is_named() {
        let profile: Profile =
            toml::from_str("[places]\np = [\"uprobe//no/such/file:f\"]").unwrap();
        let error = profile.complete(&mut Choice::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "program p: this host has none of uprobe//no/such/file:f (--at p=SECTION names another place)"
        );
    }
}

//! Random programs in the kernel, and translated on both engines: r0, the context or packet, and the maps must be equal afterwards.
//!
//! `cargo xtask random` runs more of them. `RANDOM_PROGRAMS=N` and `RANDOM_SEED=S` choose how many and which; a failure is shrunk to the lines that matter
//! and printed as a filetest. Wasmtime compiles longer than the programs run, so it takes part every few programs only:
//! `RANDOM_COMPILED=K` says how often (1: always).

mod generator;
#[path = "../../../bpf2wasm/tests/it/support/kernel.rs"]
mod kernel;
mod optional;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use abi::manifest::Map;
use abi::map_types::MapType;
use bpf2wasm::{Options, Raw, assemble, convert_raw};
use diff_tests::random::Random;
use diff_tests::settings::number;
use generator::{CONTEXT, program};
use helpers::maps::Key;
use kernel::{HASH_KEYS, Kind, Outcome, held};
use loader::open::Input;
use loader::user::context::{TestInput, prepare};
use loader::user::{self, EngineKind};
use optional::Optional;

/// Steps a run may take; loops are bounded, so no program comes near.
const FUEL: u64 = 1 << 24;

enum Verdict {
    Refused,
    Equal,
    /// The context, what the kernel left, what who left.
    Different(Vec<u8>, Outcome, String),
}

fn maps() -> [Map; 2] {
    [("values", MapType::Array), ("hash", MapType::Hash)].map(|(name, map_type)| Map {
        name: name.to_owned(),
        map_type: map_type as u32,
        key_size: 4,
        value_size: 32,
        max_entries: 4,
        flags: 0,
        key_type: 0,
        value_type: 0,
        data: None,
        inner: None,
        values: Vec::new(),
        pinned: false,
    })
}

/// A translated program, ready to run.
struct Translated {
    sandbox: user::UserSandbox,
    export: String,
}

impl Translated {
    fn new(input: &Input, engine: EngineKind) -> Self {
        let manifest = input.manifest.as_ref().expect("translated");
        let export = manifest.programs[0].export.clone();
        let sandbox = user::load(input, engine, FUEL, None).expect("it loads");
        Translated { sandbox, export }
    }

    fn run(&mut self, kind: Kind, bytes: &[u8]) -> Outcome {
        let mut input = TestInput::default();
        let place = if kind.packet {
            &mut input.data
        } else {
            &mut input.context
        };
        place.extend_from_slice(bytes);
        let prepared = prepare(&self.sandbox, kind.section, &input).expect("it fits");
        let result = self.sandbox.run(&self.export, &prepared.context);
        let packet = prepared.packet(&self.sandbox);
        Outcome {
            result: result.map(|r0| r0 as u32).map_err(|t| t.to_string()),
            context: packet.unwrap_or_else(|| self.sandbox.context(bytes.len())),
            maps: vec![self.array(), self.hash()],
        }
    }

    fn array(&self) -> Vec<u8> {
        let map = self.sandbox.space().map(0).expect("an array");
        let spec = map.spec();
        let first = map.first_value().expect("an array");
        self.bytes(first, spec.value_size * spec.max_entries)
    }

    fn hash(&self) -> Vec<u8> {
        let map = self.sandbox.space().map(1).expect("a hash");
        let value = |key: u32| {
            let key = Key::from_host(&key.to_ne_bytes()).expect("a short key");
            let at = map.lookup(0, &key)?;
            Some(self.bytes(at, map.spec().value_size))
        };
        (0..HASH_KEYS).flat_map(|key| held(value(key))).collect()
    }

    fn bytes(&self, at: u32, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.sandbox.bytes(at, len).read(&mut bytes);
        bytes
    }
}

/// Runs a program in the kernel and on `engines`, over the same contexts.
fn compare(kind: Kind, text: &str, contexts: &[Vec<u8>], engines: &[EngineKind]) -> Verdict {
    let maps = maps();
    let Ok(code) = assemble(text) else {
        return Verdict::Refused;
    };
    let Ok(native) = kernel::Program::load_as(kind, &code, &maps) else {
        return Verdict::Refused;
    };
    let raw = Raw {
        code: &code,
        section: kind.section,
        maps: &maps,
        license: "GPL",
    };
    let converted = match convert_raw(&raw, "random", &Options::default()) {
        Ok(converted) => converted,
        Err(error) => panic!("accepted by the kernel, refused here: {error}\n{text}"),
    };
    let input = Input::from_wasm(converted.wasm, "random").expect("its own module");
    let new = |engine: &EngineKind| (*engine, Translated::new(&input, *engine));
    let mut translated: Vec<_> = engines.iter().map(new).collect();
    for context in contexts {
        let expected = native.run(context);
        for (engine, program) in &mut translated {
            let seen = program.run(kind, context);
            if expected != seen {
                let seen = format!("{engine:?}: {seen:?}");
                return Verdict::Different(context.clone(), expected, seen);
            }
        }
    }
    Verdict::Equal
}

/// Few lines that still differ; those that give the frame and an argument values stay, as the kernel lets programs read
/// garbage and addresses.
fn shrink(kind: Kind, text: &str, contexts: &[Vec<u8>], engines: &[EngineKind]) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let mut chunk = lines.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < lines.len() {
            let end = (at + chunk).min(lines.len());
            let kept = lines[at..end]
                .iter()
                .filter(|l| l.starts_with("stdw [r10-") || **l == "mov r1, r8");
            let fewer: Vec<&str> = lines[..at]
                .iter()
                .chain(kept)
                .chain(&lines[end..])
                .copied()
                .collect();
            match compare(kind, &fewer.join("\n"), contexts, engines) {
                Verdict::Different(..) if fewer.len() < lines.len() => lines = fewer,
                _ => at += chunk,
            }
        }
        chunk /= 2;
    }
    lines.join("\n")
}

/// A failure as a file for `bpf2wasm/tests/filetests`. What those cannot say (a packet to write to, a hash) is gone where it does not matter.
fn filetest(text: &str, context: &[u8], expected: &Outcome) -> String {
    let hex = context.iter().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "{byte:02x}");
        all
    });
    let r0 = expected.result.as_ref().map_or(0, |r0| *r0);
    format!(";; map: values 32 4\n{text}\n;; run: ({hex}) == {r0}\n")
}

/// Tries program `seed`: the instructions it has, and whether the verifier takes it.
fn one(seed: u64, optional: &Optional, engines: &[EngineKind]) -> (BTreeSet<String>, bool) {
    let (kind, text) = program(seed, optional);
    let mut random = Random(!seed);
    let mut context = || {
        (0..CONTEXT)
            .map(|_| random.word() as u8)
            .collect::<Vec<u8>>()
    };
    let contexts = [vec![0; CONTEXT], vec![0xff; CONTEXT], context(), context()];
    let instructions = text.lines().filter(|line| !line.ends_with(':'));
    let mnemonic = |line: &str| line.split(' ').next().map(str::to_owned);
    let instructions = instructions.filter_map(mnemonic).collect();
    match compare(kind, &text, &contexts, engines) {
        Verdict::Refused => (instructions, false),
        Verdict::Equal => (instructions, true),
        Verdict::Different(..) => {
            let small = shrink(kind, &text, &contexts, engines);
            let Verdict::Different(context, expected, seen) =
                compare(kind, &small, &contexts, engines)
            else {
                unreachable!("it differed a moment ago")
            };
            let file = filetest(&small, &context, &expected);
            panic!("{}, kernel: {expected:?}\n{seen}\n{file}", kind.section);
        }
    }
}

/// What was tried so far.
#[derive(Default)]
struct Coverage {
    accepted: u64,
    /// In how many programs that the verifier took each instruction was; 0: only in others.
    instructions: BTreeMap<String, u64>,
}

impl Coverage {
    fn add(&mut self, (instructions, accepted): (BTreeSet<String>, bool)) {
        self.accepted += u64::from(accepted);
        for mnemonic in instructions {
            *self.instructions.entry(mnemonic).or_default() += u64::from(accepted);
        }
    }

    /// What was compared, and of everything else in the table why not.
    fn report(&self, optional: &Optional) {
        let table: BTreeSet<String> = bpf2wasm::instructions().map(|i| i.mnemonic).collect();
        let all = table.len();
        let count = |name: &str| self.instructions.get(name).copied();
        let named = |wanted: fn(Option<u64>) -> bool| -> Vec<&str> {
            let names = table.iter().map(String::as_str);
            names.filter(|name| wanted(count(name))).collect()
        };
        let covered = named(|count| count > Some(0)).len();
        println!("{covered} of {all} instructions were in them");
        for (name, reason) in &optional.refused {
            println!("this kernel refuses {name}: {reason}");
        }
        let only_refused = named(|count| count == Some(0));
        println!("only in programs it refused: {}", only_refused.join(" "));
        let refused = |name: &str| optional.refused.iter().any(|(n, _)| n == name);
        let never = named(|count| count.is_none()).into_iter();
        let never: Vec<&str> = never.filter(|name| !refused(name)).collect();
        println!("in no program: {}", never.join(" "));
        let rarest = self.instructions.iter().filter(|(_, count)| **count > 0);
        if let Some((mnemonic, count)) = rarest.min_by_key(|(_, count)| **count) {
            println!("the rarest, {mnemonic}, was in {count}");
        }
    }
}

#[test]
fn random_programs_do_what_the_kernel_does() {
    if !kernel::available() {
        eprintln!("skipped: this machine does not allow bpf(2)");
        return;
    }
    let number = |name, default| number(name, default).expect("a number");
    let programs = number("RANDOM_PROGRAMS", 20_000);
    let (seed, compiled) = (number("RANDOM_SEED", 1), number("RANDOM_COMPILED", 10));
    let (next, coverage) = (AtomicU64::new(0), Mutex::new(Coverage::default()));
    let optional = Optional::probe();
    let all = [EngineKind::Jit, EngineKind::Wasmi, EngineKind::Wasmtime];
    let work = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= programs {
            break;
        }
        let engines = if index % compiled == 0 {
            &all[..]
        } else {
            // Both are quick to start.
            &all[..2]
        };
        // Seeds one apart give the same numbers one apart: spread them.
        let seed = Random(seed << 32 | index).word();
        let tried = one(seed, &optional, engines);
        coverage.lock().expect("no panic").add(tried);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(work)));
    let coverage = coverage.into_inner().expect("no panic");
    let accepted = coverage.accepted;
    println!("{accepted} of {programs} random programs accepted by the verifier, all equal");
    coverage.report(&optional);
    assert!(
        accepted * 2 > programs,
        "the verifier accepts only {accepted} of {programs}"
    );
}

//! Debian's xdp-filter on packets: natively on the running kernel by `BPF_PROG_TEST_RUN`, and in the user-space runtime on
//! both engines. The same rules, the same verdicts, the same counters. Nothing is attached.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use diff_tests::corpus;
use diff_tests::oracle::native::Native;
use helpers::maps::{ANY, Key};
use loader::open::Input;
use loader::session::Session;
use loader::user::context::{TestInput, prepare};
use loader::user::{self, EngineKind, UserSandbox};

/// What xdp-filter counts and decides by, and keys of rules in it: addresses and ports of [`packets`].
const RULES: &[(&str, &[&[u8]])] = &[
    ("filter_ports", &[&[0, 80, 0, 0], &[3, 0, 0, 0]]),
    ("filter_ipv4", &[&[10, 0, 0, 1], &[10, 0, 0, 4]]),
    (
        "filter_ipv6",
        &[&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]],
    ),
    (
        "filter_ethernet",
        &[&[2, 0, 0, 0, 0, 3], &[2, 0, 0, 0, 0, 0]],
    ),
];
/// `MAP_FLAG_SRC | MAP_FLAG_DST | MAP_FLAG_TCP | MAP_FLAG_UDP`; what comes above them is counted.
const RULE: u64 = 0xf;
const STATISTICS: &str = "xdp_stats_map";

fn objects() -> Vec<PathBuf> {
    let folder = corpus::unpacked("libxdp1").join("usr/lib/x86_64-linux-gnu/bpf");
    let files = folder
        .read_dir()
        .expect("`cargo xtask setup` puts them there");
    let paths = files.map(|file| file.unwrap().path());
    let is_filter = |path: &PathBuf| path.to_string_lossy().contains("/xdpfilt_");
    let mut filters: Vec<_> = paths.filter(is_filter).collect();
    filters.sort();
    filters
}

/// IPv4, IPv6 and others, TCP, UDP and others, with and without a VLAN tag, each also cut off at many lengths.
fn packets() -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for number in 0..6u8 {
        for tag in [&[][..], &[0x81, 0, 0, 7]] {
            for protocol in [6, 17, 1, 58] {
                let ethernet = [&[2, 0, 0, 0, 0, number, 2, 0, 0, 0, 1, 1][..], tag].concat();
                let ports = [0, 80, 0, number, 0, 8, 0, 0];
                let mut v4 = [0; 20];
                (v4[0], v4[9]) = (0x45, protocol);
                v4[12..].copy_from_slice(&[10, 0, 0, number, 10, 0, 0, 4 - number.min(4)]);
                let mut v6 = [0; 40];
                (v6[0], v6[6], v6[8], v6[23]) = (0x60, protocol, 0xfd, number);
                let rest = [0; 24];
                packets.push([&ethernet[..], &[8, 0], &v4, &ports, &rest].concat());
                packets.push([&ethernet[..], &[0x86, 0xdd], &v6, &ports, &rest].concat());
                packets.push([&ethernet[..], &[8, 6], &rest].concat());
            }
        }
    }
    let whole = packets.clone();
    for (at, packet) in whole.into_iter().enumerate() {
        packets.push(packet[..(14 + at % 40).min(packet.len())].to_vec());
    }
    packets
}

/// Verdicts, and the sums over all CPUs of each map's numbers, by map and key.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    verdicts: Vec<u64>,
    counts: BTreeMap<(&'static str, Vec<u8>), [u64; 2]>,
}

/// The sum of values of `words` numbers each.
fn summed(values: &[u8], words: usize) -> [u64; 2] {
    let mut sum = [0; 2];
    for (i, word) in values.chunks_exact(8).enumerate() {
        let number = u64::from_le_bytes(word.try_into().unwrap());
        sum[i % words] += number;
    }
    sum
}

/// Those of [`RULES`] that `input` has maps for; the maps' numbers.
fn rules(input: &Input) -> Vec<(u32, &'static str, &'static [&'static [u8]])> {
    let rules = RULES.iter();
    rules
        .filter_map(|(name, keys)| Some((map_number(input, name)?, *name, *keys)))
        .collect()
}

fn natively(object: &Path, input: &Input, packets: &[Vec<u8>]) -> Result<Seen> {
    let program = &input.manifest.as_ref().context("a manifest")?.programs[0].name;
    let mut native = Native::load(&std::fs::read(object)?, "filter", &[program])?;
    let cpus = native.elements(STATISTICS)?[0].1.len() / 16;
    let rules = rules(input);
    // Each CPU has its own copy of a rule.
    let rule = RULE.to_le_bytes().repeat(cpus);
    for (_, map, keys) in &rules {
        for key in *keys {
            native.update(map, key, &rule)?;
        }
    }
    let mut seen = Seen::default();
    for packet in packets {
        seen.verdicts
            .push(u64::from(native.test_run_on(program, packet)?));
    }
    for (key, values) in native.elements(STATISTICS)? {
        seen.counts.insert((STATISTICS, key), summed(&values, 2));
    }
    for (_, map, keys) in &rules {
        let elements = native.elements(map)?;
        for (key, values) in elements.into_iter().filter(|e| keys.contains(&&e.0[..])) {
            let [sum, _] = summed(&values, 1);
            seen.counts
                .insert((map, key), [sum - RULE * cpus as u64, 0]);
        }
    }
    Ok(seen)
}

/// The number of map `name` in the sandbox.
fn map_number(input: &Input, name: &str) -> Option<u32> {
    let maps = &input.manifest.as_ref()?.maps;
    maps.iter()
        .position(|map| map.name == name)
        .map(|at| at as u32)
}

fn read(sandbox: &UserSandbox, map: u32, key: &[u8], words: usize) -> Result<[u64; 2]> {
    let space = sandbox.space();
    let mut value = vec![0; 8 * words];
    let key = Key::from_host(key).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    let map = space.map(map).context("a map")?;
    map.read(space.memory(), &key, &mut value)
        .map_err(|e| anyhow::anyhow!("{e:?}"))?;
    Ok(summed(&value, words))
}

fn translated(input: &Input, packets: &[Vec<u8>], engine: EngineKind) -> Result<Seen> {
    let manifest = input.manifest.as_ref().context("a manifest")?;
    let program = &manifest.programs[0];
    let mut sandbox = user::load(input, engine, 1 << 20, None)?;
    let rules = rules(input);
    for (number, name, keys) in &rules {
        let space = sandbox.space();
        let map = space.map(*number).context("a map")?;
        for key in *keys {
            let key = Key::from_host(key).map_err(|e| anyhow::anyhow!("{e:?}"))?;
            space
                .update(map, 0, &key, &RULE.to_le_bytes(), ANY)
                .map_err(|e| anyhow::anyhow!("{name}: {e:?}"))?;
        }
    }
    let mut seen = Seen::default();
    for packet in packets {
        let test = TestInput {
            data: packet.clone(),
            context: Vec::new(),
        };
        let prepared = prepare(&sandbox, &program.section, &test)?;
        let verdict = sandbox.run(&program.export, &prepared.context);
        let verdict = verdict.map_err(|trap| anyhow::anyhow!("{trap}"))?;
        seen.verdicts.push(verdict);
    }
    let statistics = map_number(input, STATISTICS).context("statistics")?;
    for verdict in 0..5u32 {
        let key = verdict.to_le_bytes();
        let count = read(&sandbox, statistics, &key, 2)?;
        seen.counts.insert((STATISTICS, key.to_vec()), count);
    }
    for (number, name, keys) in &rules {
        for key in *keys {
            let [sum, _] = read(&sandbox, *number, key, 1)?;
            seen.counts.insert((name, key.to_vec()), [sum - RULE, 0]);
        }
    }
    Ok(seen)
}

#[test]
fn filters_decide_and_count_as_natively() -> Result<()> {
    let packets = packets();
    let objects = objects();
    ensure!(objects.len() >= 10, "{} filters", objects.len());
    for object in objects {
        let input = Input::open(&object, None)?;
        let name = object.file_stem().context("a name")?.to_string_lossy();
        let native = natively(&object, &input, &packets).with_context(|| name.to_string())?;
        let passed = native.verdicts.iter().filter(|v| **v == 2).count();
        ensure!(
            passed > 0 && passed < packets.len(),
            "{name}: {passed} pass"
        );
        for engine in [EngineKind::Wasmi, EngineKind::Wasmtime, EngineKind::Jit] {
            let wasm = translated(&input, &packets, engine).with_context(|| name.to_string())?;
            assert_eq!(native, wasm, "{name} on {engine:?}");
        }
    }
    Ok(())
}

//! Looks for dear modules: made-up ones, of which those live on whose units buy the most instructions.
//!
//! `DEAR_SECONDS=N` looks for so long on each engine, `DEAR_SEED=S` begins elsewhere.

use std::time::{Duration, Instant};

use super::{ENGINES, MOST, endless, instructions, plain};
use loader::user::EngineKind;

/// Units that a module is run for.
const FUEL: u64 = 200;
/// Modules that live on.
const LIVING: usize = 8;
/// Statements of a module at most.
const LENGTH: usize = 24;

/// Numbers that are as random as need be.
struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        // xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const FUNCTIONS: &str =
    "(func $f0) (func $f1 (param i64) (result i64) (local i64 i64 i64 i64) (local.get 0))
    (func $f2 (param i64 i64 i64 i64 i64) (result i64) (call $f1 (local.get 4)))
    (func $f3 (loop (loop (loop))))";

const TWO: &[&str] = &[
    "add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr", "div_u",
    "rem_s",
];

/// A number of 64 bits.
fn long(random: &mut Random, depth: u32) -> String {
    let next = |random: &mut Random| long(random, depth.saturating_sub(1));
    match random.below(if depth == 0 { 3 } else { 10 }) {
        0 => "(local.get $a)".into(),
        1 => "(local.get $b)".into(),
        2 => format!("(i64.const {})", random.word() as i64 >> random.below(64)),
        3..=5 => {
            let name = random.pick(TWO);
            let (a, b) = (next(random), next(random));
            match name {
                "div_u" | "rem_s" => format!("(i64.{name} {a} (i64.or {b} (i64.const 2)))"),
                _ => format!("(i64.{name} {a} {b})"),
            }
        }
        6 => format!(
            "(i64.{} {})",
            random.pick(&["clz", "ctz", "popcnt", "extend8_s"]),
            next(random)
        ),
        7 => format!(
            "(i64.load{} (i32.and (i32.const 0xff8) {}))",
            random.pick(&["", "8_s", "16_u", "32_s"]),
            short(random, depth - 1)
        ),
        8 => format!(
            "(select {} {} {})",
            next(random),
            next(random),
            short(random, depth - 1)
        ),
        _ => format!("(call $f1 {})", next(random)),
    }
}

/// One of 32 bits.
fn short(random: &mut Random, depth: u32) -> String {
    match random.below(if depth == 0 { 2 } else { 6 }) {
        0 => "(local.get $i)".into(),
        1 => format!("(i32.const {})", random.word() as i32 >> random.below(32)),
        2 => format!("(i32.wrap_i64 {})", long(random, depth - 1)),
        3 => format!(
            "(i64.{} {} {})",
            random.pick(&["lt_s", "eq", "ge_u"]),
            long(random, depth - 1),
            long(random, depth - 1)
        ),
        4 => format!(
            "(i32.{} {})",
            random.pick(&["clz", "popcnt", "eqz", "extend16_s"]),
            short(random, depth - 1)
        ),
        _ => format!(
            "(i32.{} {} {})",
            random.pick(&["add", "rotl", "mul", "shl"]),
            short(random, depth - 1),
            short(random, depth - 1)
        ),
    }
}

fn statement(random: &mut Random, depth: u32) -> String {
    let inner = |random: &mut Random| match depth {
        0 => String::new(),
        _ => statement(random, depth - 1),
    };
    match random.below(16) {
        0 => format!("(local.set $a {})", long(random, 3)),
        1 => format!("(local.set $b {})", long(random, 3)),
        2 => format!("(local.set $i {})", short(random, 3)),
        3 => format!(
            "(i64.store{} (i32.and (i32.const 0xff8) {}) {})",
            random.pick(&["", "8", "16", "32"]),
            short(random, 1),
            long(random, 1)
        ),
        4 => format!(
            "(if {} (then {}) (else {}))",
            short(random, 1),
            inner(random),
            inner(random)
        ),
        5 => format!(
            "(block {} (br_if 0 {}) {})",
            inner(random),
            short(random, 1),
            inner(random)
        ),
        6 => format!("(loop {})", inner(random)),
        7 => format!(
            "(loop $l {} (br_if $l (local.tee $j (i32.and (i32.const 3) (i32.add (local.get $j) (i32.const 1))))))",
            inner(random)
        ),
        8 => {
            let targets: String = (0..1 + random.below(200))
                .map(|_| random.pick(&["0 ", "1 ", "2 "]))
                .collect();
            format!(
                "(block (block (block (br_table {targets} 0 {}) {}) {}))",
                short(random, 1),
                inner(random),
                inner(random)
            )
        }
        9 => "(call $f0)".into(),
        10 => format!(
            "(drop (call $f2 {} {} {} {} {}))",
            long(random, 0),
            long(random, 0),
            long(random, 0),
            long(random, 0),
            long(random, 1)
        ),
        11 => "(call $f3)".into(),
        12 => format!("(drop {})", long(random, 2)),
        13 => "(block (br 0) (loop nop) (unreachable))".into(),
        14 => "(br $forever)".into(),
        _ => "nop".into(),
    }
}

/// A child of one or two of the living.
fn child(random: &mut Random, living: &[(f64, Vec<String>)]) -> Vec<String> {
    let mut child = match living.len() {
        0 => Vec::new(),
        count => living[random.below(count)].1.clone(),
    };
    for _ in 0..1 + random.below(3) {
        let at = random.below(child.len() + 1);
        match random.below(5) {
            0 if at < child.len() => drop(child.remove(at)),
            1 if at < child.len() => child[at] = statement(random, 2),
            2 if at < child.len() => child.insert(at, child[at].clone()),
            3 if !living.is_empty() => {
                let other = &living[random.below(living.len())].1;
                child.extend(other.iter().take(random.below(other.len() + 1)).cloned());
            }
            _ => child.insert(at, statement(random, 2)),
        }
    }
    child.truncate(LENGTH);
    child
}

/// The dearest found, in parts of a plain loop.
fn search(engine: EngineKind, time: Duration, seed: u64) -> (f64, String, u32) {
    let plain = plain(engine, FUEL);
    let mut random = Random(seed);
    let mut living: Vec<(f64, Vec<String>)> = Vec::new();
    let (began, mut tried) = (Instant::now(), 0);
    while began.elapsed() < time {
        let child = child(&mut random, &living);
        let text = endless(FUNCTIONS, &child.join("\n"));
        let Some(each) = instructions(engine, &text, FUEL) else {
            continue;
        };
        tried += 1;
        living.push((each / plain, child));
        living.sort_by(|a, b| b.0.total_cmp(&a.0));
        living.truncate(LIVING);
    }
    let (ratio, body) = living.swap_remove(0);
    (ratio, body.join("\n"), tried)
}

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn no_dear_module_is_found() {
    let time = Duration::from_secs(number("DEAR_SECONDS", 6));
    for engine in ENGINES {
        let (ratio, body, tried) = search(engine, time, number("DEAR_SEED", 0x5eed));
        println!("{engine:?}: {tried} modules, the dearest {ratio:.2} of a plain loop:\n{body}");
        assert!(tried > 2, "only {tried} modules ran");
        assert!(
            ratio <= MOST,
            "{engine:?}: {ratio:.1} of a plain loop's:\n{body}"
        );
    }
}

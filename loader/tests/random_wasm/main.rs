//! Random modules, of which no translator would make most: the compiler does what wasmtime does, and leaves the same memory.
//! `RANDOM_MODULES` and `RANDOM_SEED` say how many, and from where on; `RANDOM_WAT` is one of its own.
//!
//! wasmi is no judge here: it panics at some of these modules, and takes the wrong number of two at others.

mod module;
mod statements;
mod values;

use abi::traps::Trap;
use loader::user::{EngineKind, Trapped, UserSandbox};

use module::module;

/// More than any of them spends: the engines count differently.
const FUEL: u64 = 1 << 24;
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.word();
        }
        random
    }

    fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u32) -> u32 {
        ((self.word() >> 32) % u64::from(bound)) as u32
    }

    fn number(&mut self) -> i64 {
        match self.below(6) {
            0 => self.word() as i64,
            1 => i64::from(self.word() as i32),
            2 => i64::from(self.below(64)),
            3 => -1,
            4 => i64::MIN >> self.below(40),
            _ => i64::from(self.below(0x3_0000)),
        }
    }
}

/// What a run gives, and the memory it leaves.
fn run(engine: EngineKind, wasm: &[u8], context: &[u8]) -> (Result<u64, Trapped>, Vec<u8>) {
    let (mut sandbox, _) = UserSandbox::new(engine, FUEL, &[]).unwrap();
    if let Err(error) = sandbox.load(wasm, &[]) {
        panic!("{error}: {}", wasmprinter::print_bytes(wasm).unwrap());
    }
    let result = sandbox.run("run", context);
    let mut memory = vec![0; 0x1_0000];
    sandbox.bytes(0, memory.len() as u32).read(&mut memory);
    (result, memory)
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

/// A module that was written by a failure, perhaps made smaller since, on both engines.
#[test]
fn a_module_by_hand() {
    let Ok(path) = std::env::var("RANDOM_WAT") else {
        return;
    };
    let wasm = wat::parse_file(path).unwrap();
    let context = [7; 64];
    let [expected, compiled] =
        [EngineKind::Wasmtime, EngineKind::Jit].map(|engine| run(engine, &wasm, &context));
    println!("{:x?}, {:x?}", expected.0, compiled.0);
    for (at, (a, b)) in expected.1.iter().zip(&compiled.1).enumerate() {
        if a != b {
            println!("{at:#x}: {a:#x}, {b:#x}");
        }
    }
    assert!(expected == compiled);
}

#[test]
fn the_compiler_does_what_wasmtime_does() {
    let (count, first) = (number("RANDOM_MODULES", 300), number("RANDOM_SEED", 1));
    let (mut ended, mut trapped) = (0, 0);
    for seed in first..first + count {
        let mut random = Random::new(seed);
        let wasm = module(&mut random);
        let context: Vec<u8> = (0..64).map(|_| random.word() as u8).collect();
        let expected = run(EngineKind::Wasmtime, &wasm, &context);
        if expected.0
            == Err(Trapped {
                trap: Trap::Budget,
                site: None,
            })
        {
            continue;
        }
        let compiled = run(EngineKind::Jit, &wasm, &context);
        let same = expected == compiled;
        if !same {
            let text = wasmprinter::print_bytes(&wasm).unwrap();
            let path = format!("/tmp/random-wasm-{seed}.wat");
            std::fs::write(&path, text).unwrap();
            let at = (0..compiled.1.len()).find(|at| expected.1[*at] != compiled.1[*at]);
            panic!(
                "seed {seed} ({path}): expected {:x?}, compiled {:x?}, memory differs at {at:x?}",
                expected.0, compiled.0
            );
        }
        match expected.0 {
            Ok(_) => ended += 1,
            Err(_) => trapped += 1,
        }
    }
    println!("{ended} ended, {trapped} trapped, all the same");
    assert!(ended * 20 > count, "{ended} of {count} reach their end");
}

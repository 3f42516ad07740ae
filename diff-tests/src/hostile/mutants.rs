//! Good modules with a few bytes changed: what passes for good the longest.

use std::sync::LazyLock;

use bpf2wasm::{Options, convert};

use crate::corpus;
use crate::random::Random;

/// Translated objects and hand-written modules.
static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let translate = |(name, object): &(&str, &[u8])| {
        let converted = convert(object, name, &Options::default());
        converted.expect("the corpus converts").wasm
    };
    let objects = corpus::objects().iter().map(translate);
    let modules = corpus::modules().iter().map(|(_, module)| module.to_vec());
    objects.chain(modules).collect()
});

/// The module of `seed`.
pub fn module(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut module = GOOD[random.below(GOOD.len())].clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(module.len());
        match random.below(6) {
            0 => module[at] ^= 1 << random.below(8),
            1 => module[at] = random.word() as u8,
            2 => module[at] = module[at].wrapping_add(1),
            3 => module.insert(at, random.word() as u8),
            4 => drop(module.remove(at)),
            _ => {
                let from = random.below(module.len());
                let count = random.below(8).min(module.len() - from.max(at));
                module.copy_within(from..from + count, at);
            }
        }
    }
    module
}

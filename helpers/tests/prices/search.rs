//! Looks for dearer arguments than those of [`rows`]: changes them at random.
//!
//! `DEAR_SECONDS=N` looks for so long, `DEAR_SEED=S` begins elsewhere.

use std::time::{Duration, Instant};

use abi::layout::{guest_ptr, map_handle};

use crate::host::KERNEL;
use crate::place::{KEY, Place, TEXT, VALUE};
use crate::{MOST, counted, functions, rows};

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

    /// An argument of whatever kind.
    fn argument(&mut self) -> u64 {
        let near = self.below(9) as u64;
        match self.below(8) {
            0 => [0, 1, 4, 8, 64, 512, 1024, 4096, 16_384][self.below(9)],
            1 => [guest_ptr(KEY), guest_ptr(VALUE), guest_ptr(TEXT)][self.below(3)] + near,
            2 => map_handle(near as u32 % 3),
            3 => KERNEL + near,
            4 => 0x1000 + near,
            5 => 1 << self.below(64),
            6 => near,
            _ => self.word() >> self.below(64),
        }
    }

    /// Changes an argument or two, and what they point to.
    fn change(&mut self, place: &Place, args: &mut [u64; 5]) {
        for _ in 0..1 + self.below(2) {
            args[self.below(5)] = self.argument();
        }
        const TEXTS: &[&str] = &[
            "%pus", "%1024d", "%pI6", "%ld", " %c", "%-999x", "xxxx", "%%", "\0", "%pks,",
        ];
        if self.below(3) == 0 {
            let text: String = (0..1 + self.below(40))
                .map(|_| TEXTS[self.below(TEXTS.len())])
                .collect();
            place.write(TEXT, text.as_bytes());
        }
        if self.below(3) == 0 {
            place.write(
                [KEY, VALUE, TEXT][self.below(3)] + self.below(64) as u32,
                &self.word().to_ne_bytes(),
            );
        }
    }
}

fn number(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn no_dearer_arguments_are_found() {
    let time = Duration::from_secs(number("DEAR_SECONDS", 5));
    let mut random = Random(number("DEAR_SEED", 0x5eed));
    let functions = functions();
    let (began, mut tried) = (Instant::now(), 0);
    let mut dearest: Option<(u64, String)> = None;
    while began.elapsed() < time {
        let (module, name) = functions[random.below(functions.len())];
        let rows = rows::of(name);
        let row = &rows[random.below(rows.len())];
        let mut used = [0; 5];
        let count = counted(module, name, row, |place, args| {
            random.change(place, args);
            used = *args;
        });
        tried += 1;
        let tenths = count.tenths();
        if dearest.as_ref().is_none_or(|(most, _)| tenths > *most) {
            let text = format!(
                "{name} ({}, but with {used:x?}): {} instructions for {} units",
                row.what, count.instructions, count.units
            );
            dearest = Some((tenths, text));
        }
    }
    let (tenths, text) = dearest.expect("some were tried");
    println!(
        "{tried} calls, the dearest {}.{} a unit: {text}",
        tenths / 10,
        tenths % 10
    );
    assert!(tried > 50, "only {tried} calls");
    assert!(
        tenths <= MOST * 10,
        "{}.{} instructions a unit: {text}",
        tenths / 10,
        tenths % 10
    );
}

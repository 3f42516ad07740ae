//! What is found of a program's events, by programs of two rings and a hash.

use alloc::borrow::ToOwned;
use alloc::vec;
use alloc::vec::Vec;

use abi::manifest::{Map, Sent};
use abi::map_types::MapType;

use super::sent;
use crate::object::Object;
use crate::object::raw::Raw;
use crate::{Options, assemble};

fn map(name: &str, map_type: MapType, key_size: u32, value_size: u32) -> Map {
    Map {
        name: name.to_owned(),
        map_type: map_type as u32,
        key_size,
        value_size,
        max_entries: 4096,
        flags: 0,
        key_type: 0,
        value_type: 0,
        data: None,
        inner: None,
        values: vec![],
        pinned: false,
    }
}

/// What a program sends.
fn found(text: &str) -> Vec<Sent> {
    let maps = [
        map("ring", MapType::Ringbuf, 0, 0),
        map("other", MapType::Ringbuf, 0, 0),
        map("hash", MapType::Hash, 8, 8),
    ];
    let raw = Raw {
        code: &assemble(text).unwrap(),
        section: "kprobe/f",
        maps: &maps,
        license: "GPL",
    };
    sent(&Object::from_raw(&raw, "test", &Options::default()).unwrap())
}

/// Places and sizes of the stores.
fn places(sent: &Sent) -> Vec<(u32, u32)> {
    sent.stores.iter().map(|s| (s.at, s.size)).collect()
}

/// A record of `size` bytes of `map`, in r6; the program ends where there is none.
fn reserve(map: usize, size: u32) -> alloc::string::String {
    alloc::format!(
        "lddw r1, map#{map}\nmov r2, {size}\nmov r3, 0\ncall ringbuf_reserve\nmov r6, r0\njeq r6, 0, end\n"
    )
}

const SUBMIT: &str = "mov r1, r6\nmov r2, 0\ncall ringbuf_submit\n";
const DISCARD: &str = "mov r1, r6\nmov r2, 0\ncall ringbuf_discard\n";
const END: &str = "end:\nmov r0, 0\nexit\n";

#[test]
fn a_record_that_is_discarded_is_no_part_of_the_next() {
    let first = reserve(0, 32) + "stw [r6+0], 1\nstw [r6+4], 2\nstdw [r6+16], 3\n" + DISCARD;
    let next = reserve(0, 32) + "stdw [r6+0], 4\nstw [r6+8], 5\n" + SUBMIT;
    let all = found(&(first + &next + END));
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].size, Some(32));
    assert_eq!(places(&all[0]), [(0, 8), (8, 4)]);
}

#[test]
fn records_and_values_that_one_register_held_in_turn_are_apart() {
    let value = "stdw [r10-8], 1\nlddw r1, map#2\nmov r2, r10\nadd r2, -8\ncall map_lookup_elem\nmov r6, r0\njeq r6, 0, end\nstb [r6+3], 1\n";
    let first = reserve(0, 16) + "stdw [r6+0], 1\n" + SUBMIT;
    let next = reserve(1, 24) + "stw [r6+20], 2\n" + SUBMIT;
    let all = found(&(value.to_owned() + &first + &next + END));
    let all: Vec<_> = all
        .iter()
        .map(|s| (&s.map[..], s.size, places(s)))
        .collect();
    let expected = [
        ("ring", Some(16), vec![(0, 8)]),
        ("other", Some(24), vec![(20, 4)]),
    ];
    assert_eq!(all, expected);
}

#[test]
fn a_record_of_either_ring_has_what_follows() {
    let text = "mov r7, r1\nldxdw r8, [r7+0]\njeq r8, 0, second\n".to_owned()
        + &reserve(0, 16)
        + "stw [r6+0], 1\nja both\nsecond:\n"
        + &reserve(1, 16)
        + "stw [r6+4], 1\nboth:\nstdw [r6+8], 7\n"
        + SUBMIT
        + END;
    let all = found(&text);
    let all: Vec<_> = all.iter().map(|s| (&s.map[..], places(s))).collect();
    let expected = [
        ("ring", vec![(0, 4), (8, 8)]),
        ("other", vec![(4, 4), (8, 8)]),
    ];
    assert_eq!(all, expected);
}

#[test]
fn what_one_of_two_ways_fills_is_filled() {
    for condition in ["jeq r8, 0, done", "jne r8, 0, fill\nja done\nfill:"] {
        let text = "mov r7, r1\nldxdw r8, [r7+0]\n".to_owned()
            + &reserve(0, 16)
            + "stw [r6+0], 1\n"
            + condition
            + "\nstw [r6+8], 2\ndone:\n"
            + SUBMIT
            + END;
        let all = found(&text);
        assert_eq!(places(&all[0]), [(0, 4), (8, 4)], "{condition}");
    }
}

#[test]
fn of_a_loop_each_turn_has_a_record_of_its_own() {
    let text = "mov r7, 0\nmov r8, 0\nturn:\n".to_owned()
        + &reserve(0, 16)
        + "jne r7, 0, second\nstw [r6+0], 1\nja submit\nsecond:\nstw [r6+4], 1\nsubmit:\n"
        + SUBMIT
        + "add r7, 1\njlt r7, 4, turn\n"
        + &reserve(1, 16)
        + "stb [r6+9], 1\n"
        + SUBMIT
        + END;
    let all = found(&text);
    assert_eq!(places(&all[0]), [(0, 4), (4, 4)]);
    assert_eq!(places(&all[1]), [(9, 1)]);
}

//! What the decoder makes of bytes, beside what is refused (tests/rules.rs).
#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "tests may panic"
)]

use super::*;
use crate::insn::{A, Alu, B, Flow, RAX, RBP, RCX, RDI, RDX, Source, Swap};

fn op(bytes: &[u8]) -> Op {
    let insn = decode(bytes).expect("an instruction");
    assert_eq!(insn.length as usize, bytes.len(), "{bytes:x?}");
    insn.op
}

const fn mem(base: Reg, disp: i32) -> Mem {
    Mem {
        base,
        index: None,
        disp,
    }
}

#[test]
fn registers_have_their_bits_of_rex() {
    assert_eq!(op(&[0x55]), Op::Push(RBP));
    assert_eq!(op(&[0x41, 0x5f]), Op::Pop(15));
    let load = |to, from, size| Op::Load {
        to,
        from,
        size,
        signed: false,
        wide: size == 8,
    };
    assert_eq!(op(&[0x4d, 0x8b, 0xc7]), load(8, Rm::Reg(15), 8));
    assert_eq!(op(&[0x8b, 0xc7]), load(RAX, Rm::Reg(RDI), 4));
    let place = Mem {
        base: 14,
        index: Some((12, 0)),
        disp: -1,
    };
    assert_eq!(
        op(&[0x4f, 0x8b, 0x44, 0x26, 0xff]),
        load(8, Rm::Mem(place), 8)
    );
}

#[test]
fn places_are_a_base_an_index_and_a_displacement() {
    let lea = |from| Op::Lea {
        to: RAX,
        from,
        wide: true,
    };
    assert_eq!(op(&[0x48, 0x8d, 0x45, 0xf8]), lea(mem(RBP, -8)));
    assert_eq!(op(&[0x48, 0x8d, 0x04, 0x24]), lea(mem(RSP, 0)));
    assert_eq!(op(&[0x49, 0x8d, 0x04, 0x24]), lea(mem(12, 0)));
    assert_eq!(op(&[0x49, 0x8d, 0x45, 0x00]), lea(mem(13, 0)));
    assert_eq!(op(&[0x48, 0x8d, 0x80, 0, 1, 0, 0]), lea(mem(RAX, 256)));
    let indexed = Mem {
        base: RAX,
        index: Some((RCX, 3)),
        disp: 0,
    };
    assert_eq!(op(&[0x48, 0x8d, 0x04, 0xc8]), lea(indexed));
    // No base, a base that is the instruction, an index that is none and is scaled.
    for bytes in [
        &[0x48, 0x8d, 0x04, 0x25, 0, 0, 0, 0][..],
        &[0x48, 0x8d, 0x05, 0, 0, 0, 0],
        &[0x49, 0x8d, 0x05, 0, 0, 0, 0],
        &[0x48, 0x8d, 0x04, 0xe4],
        &[0x4a, 0x8d, 0x45, 0xf8],
    ] {
        assert_eq!(decode(bytes), None, "{bytes:x?}");
    }
}

#[test]
fn numbers_are_extended_as_the_processor_does() {
    let add = |value, wide| Op::Alu {
        op: Alu::Add,
        to: Rm::Reg(RDX),
        from: Source::Imm(value),
        wide,
        locked: false,
    };
    assert_eq!(op(&[0x48, 0x83, 0xc2, 0xff]), add(u64::MAX, true));
    assert_eq!(op(&[0x83, 0xc2, 0x7f]), add(0x7f, false));
    assert_eq!(
        op(&[0x48, 0x81, 0xc2, 0, 0, 0, 0x80]),
        add(!0x7fff_ffff, true)
    );
    let imm = |value| Op::Imm { to: RAX, value };
    assert_eq!(op(&[0xb8, 0xff, 0xff, 0xff, 0xff]), imm(0xffff_ffff));
    assert_eq!(
        op(&[0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff]),
        imm(u64::MAX)
    );
    assert_eq!(
        op(&[0x48, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0x80]),
        imm(1 | 1 << 63)
    );
}

#[test]
fn control_goes_from_behind_the_instruction() {
    let go = |flow, by, far| Op::Go { flow, by, far };
    assert_eq!(op(&[0xeb, 0xfe]), go(Flow::Jump, -2, false));
    assert_eq!(op(&[0xe9, 0, 1, 0, 0]), go(Flow::Jump, 256, true));
    assert_eq!(op(&[0x72, 0x10]), go(Flow::Branch(B), 16, false));
    assert_eq!(
        op(&[0x0f, 0x87, 0, 0, 0, 0x80]),
        go(Flow::Branch(A), i32::MIN, true)
    );
    assert_eq!(op(&[0xe8, 0, 0, 0, 0]), go(Flow::Call, 0, true));
}

#[test]
fn a_lock_stands_before_what_it_locks() {
    let alu = |op, from, wide| Op::Alu {
        op,
        to: Rm::Mem(mem(RAX, 0)),
        from,
        wide,
        locked: true,
    };
    let register = Source::Rm(Rm::Reg(RCX));
    assert_eq!(op(&[0xf0, 0x48, 0x01, 0x08]), alu(Alu::Add, register, true));
    assert_eq!(
        op(&[0xf0, 0x83, 0x20, 7]),
        alu(Alu::And, Source::Imm(7), false)
    );
    let swap = |kind, wide| Op::Swap {
        kind,
        at: mem(RAX, 0),
        with: RCX,
        wide,
    };
    assert_eq!(op(&[0xf0, 0x0f, 0xc1, 0x08]), swap(Swap::Add, false));
    assert_eq!(
        op(&[0xf0, 0x48, 0x0f, 0xb1, 0x08]),
        swap(Swap::Compare, true)
    );
    assert_eq!(op(&[0x48, 0x87, 0x08]), swap(Swap::Exchange, true));
    // On registers, on what it does not lock, and behind another prefix.
    for bytes in [
        &[0xf0, 0x48, 0x01, 0xc8][..],
        &[0xf0, 0x48, 0x0f, 0xb1, 0xc8],
        &[0xf0, 0x39, 0x08],
        &[0xf0, 0x03, 0x08],
        &[0xf0, 0x66, 0x01, 0x08],
        &[0x48, 0xf0, 0x01, 0x08],
    ] {
        assert_eq!(decode(bytes), None, "{bytes:x?}");
    }
}

#[test]
fn no_bytes_are_read_behind_the_end_and_none_make_it_panic() {
    let mut state = 1u64;
    for _ in 0..1_000_000 {
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        let Some(insn) = decode(&bytes) else { continue };
        let length = insn.length as usize;
        assert!(length <= LONGEST);
        // It is what it is by its own bytes, and by all of them.
        assert_eq!(decode(&bytes[..length]), Some(insn), "{bytes:x?}");
        assert_eq!(decode(&bytes[..length - 1]), None, "{bytes:x?}");
    }
}

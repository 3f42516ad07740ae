//! What functions cost, by hand.

use cost::{CALL, Costs, DIVISION, MAX_LOCALS, TABLE, function, most_locals};
use wasmparser::{Operator, Parser, Payload};

/// The costs of the last function of a module.
fn costs(text: &str) -> Costs {
    let wasm = wat::parse_str(text).unwrap();
    let mut last = None;
    for payload in Parser::new(0).parse_all(&wasm) {
        if let Payload::CodeSectionEntry(body) = payload.unwrap() {
            last = Some(function(body.as_bytes()).unwrap());
        }
    }
    last.unwrap()
}

fn of(body: &str) -> Costs {
    costs(&format!(
        "(module (memory 1) (table 1 funcref) (func $f) (func (param i32 i64) {body}))"
    ))
}

fn paid(entry: u64, loops: &[u64]) -> Costs {
    Costs {
        entry,
        loops: loops.to_vec(),
    }
}

#[test]
fn plain_operators_are_units_and_what_leaves_nothing_is_free() {
    assert_eq!(of(""), paid(1, &[]));
    assert_eq!(of("nop (block nop) (drop (i32.const 1))"), paid(3, &[]));
    assert_eq!(
        of("(i32.store offset=70000 (i32.const 300000) (i32.load (local.get 0)))"),
        paid(5, &[])
    );
    assert_eq!(
        of("(drop (i64.div_u (local.get 1) (i64.const -9223372036854775808)))"),
        paid(3 + DIVISION, &[])
    );
    assert_eq!(of("(call $f)"), paid(1 + CALL, &[]));
    assert_eq!(of("(br_table 0 0 0 0 (local.get 0))"), paid(2 + TABLE, &[]));
}

#[test]
fn a_loop_pays_for_what_is_in_it_and_its_beginning_is_paid_by_who_enters_it() {
    assert_eq!(of("(loop (br 0))"), paid(1, &[1]));
    let nested = "(loop (loop (br_if 0 (local.get 0)) (br_if 1 (local.get 0))) (call $f)) (drop (local.get 0))";
    assert_eq!(of(nested), paid(2, &[1 + CALL, 5]));
}

#[test]
fn the_dearer_arm_counts() {
    let arms = |then: &str, other: &str| of(&format!("(if (local.get 0) (then {then}) {other})"));
    assert_eq!(arms("(call $f)", ""), paid(4 + CALL, &[]));
    assert_eq!(arms("(call $f)", "(else (call $f))"), paid(4 + CALL, &[]));
    assert_eq!(
        arms("", "(else (call $f) (call $f))"),
        paid(4 + 2 * CALL, &[])
    );
    // A loop in an arm pays for itself.
    assert_eq!(
        arms("(loop (br 0))", "(else (call $f))"),
        paid(4 + CALL, &[1])
    );
}

#[test]
fn every_operator_is_followed() {
    // One of each shape of what follows an opcode, in a body whose last operators would be misread otherwise.
    let body = "(drop (select (result i32) (i32.const -1) (i32.const 2147483647) (local.get 0)))
        (drop (select (i64.const 0x7fffffffffffffff) (i64.const 5) (local.get 0)))
        (drop (memory.size)) (drop (memory.grow (i32.const 0)))
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))
        (memory.copy (i32.const 0) (i32.const 1) (i32.const 2))
        (drop (ref.is_null (ref.null func))) (drop (ref.func $f)) (elem.drop 0) (data.drop 0)
        (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 0))
        (table.init 0 (i32.const 0) (i32.const 0) (i32.const 0))
        (table.copy (i32.const 0) (i32.const 0) (i32.const 0))
        (table.fill (i32.const 0) (ref.null func) (i32.const 0))
        (drop (table.grow (ref.null func) (i32.const 0))) (drop (table.size))
        (table.set (i32.const 0) (table.get (i32.const 0)))
        (call_indirect (i32.const 0)) (local.set 0 (local.tee 0 (i32.extend8_s (local.get 0))))
        (loop (br 0))";
    let module = format!(
        "(module (memory 1) (table 1 funcref) (elem func $f) (data \"x\") (func $f) (func (param i32) {body}))"
    );
    assert_eq!(costs(&module).loops, [1]);
}

#[test]
fn what_is_no_body_is_none() {
    let wasm =
        wat::parse_str("(module (func (local i32 i64 i64) (loop (br 0)) (call 0)))").unwrap();
    for payload in Parser::new(0).parse_all(&wasm) {
        let Payload::CodeSectionEntry(body) = payload.unwrap() else {
            continue;
        };
        let bytes = body.as_bytes();
        assert!(function(bytes).is_some());
        for end in 0..bytes.len() {
            assert_eq!(function(&bytes[..end]), None, "{end}");
        }
        assert_eq!(function(&[bytes, &[1]].concat()), None);
        assert_eq!(
            body.get_operators_reader()
                .unwrap()
                .into_iter()
                .filter(|op| matches!(op, Ok(Operator::Loop { .. })))
                .count(),
            1
        );
    }
    // A floating-point constant.
    assert_eq!(function(&[0, 0x43, 0, 0, 0, 0, 0x1a, 0x0b]), None);
}

#[test]
fn the_most_locals_are_found() {
    let module = |locals: u64| {
        let locals = "i64 ".repeat(locals as usize);
        wat::parse_str(format!(
            "(module (func (local i32)) (func (local i32 i32) (local {locals})))"
        ))
    };
    let wasm = module(MAX_LOCALS).unwrap();
    assert_eq!(most_locals(&wasm), Some(MAX_LOCALS + 2));
    assert_eq!(most_locals(&wat::parse_str("(module)").unwrap()), Some(0));
    for end in 0..wasm.len() {
        let _ = most_locals(&wasm[..end]);
    }
    assert_eq!(most_locals(b"\0asm"), None);
}

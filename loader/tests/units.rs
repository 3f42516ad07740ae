//! What runs pay: the same on the interpreter and in native code, at the same places.

use std::fmt::Write;

use abi::traps::Trap;
use cost::{CALL, MAX_LOCALS, PLACE, UNPAID};
use loader::user::{EngineKind, Trapped, UserSandbox};

const FUEL: u64 = 1_000_000;
/// Where a module counts, in pages that are its own.
const COUNT: u32 = 0xe000;

fn sandbox(engine: EngineKind, functions: &str, fuel: u64) -> UserSandbox {
    let (mut sandbox, _) = UserSandbox::new(engine, fuel, &[]).unwrap();
    let text = format!(
        r#"(module
          (import "env" "memory" (memory 1))
          (import "bpf" "loop" (func $loop (param i64 i64 i64 i64) (result i64)))
          (import "bpf" "ktime_get_ns" (func $time (result i64)))
          (import "bpf" "probe_load64" (func $load (param i64) (result i64)))
          (import "atomic" "add64" (func $add (param i64 i64) (result i64)))
          (func $nothing)
          {functions})"#
    );
    sandbox.load(&wat::parse_str(text).unwrap(), &[]).unwrap();
    sandbox
}

/// How often an endless program counts before its budget is gone.
fn turns(engine: EngineKind, functions: &str) -> u64 {
    let mut sandbox = sandbox(engine, functions, FUEL);
    let ended = sandbox.run("run", &[]).unwrap_err();
    assert_eq!(ended.trap, Trap::Budget, "{engine:?}");
    sandbox.bytes(COUNT, 8).word_at(0)
}

/// What a program takes that comes to its end.
fn units(engine: EngineKind, functions: &str) -> u64 {
    let mut sandbox = sandbox(engine, functions, FUEL);
    sandbox.run("run", &[]).unwrap();
    FUEL - sandbox.left()
}

const COUNTS: &str =
    "(i64.store (i32.const 0xe000) (i64.add (i64.load (i32.const 0xe000)) (i64.const 1)))";

/// A program that does `body`, and enough before it to pay for itself.
fn program(body: &str) -> String {
    let before = "(call $nothing)".repeat((UNPAID / CALL + 1) as usize);
    format!(
        r#"(func (export "run") (param i64) (result i64) (local $n i64) {before} {body} (i64.const 0))"#
    )
}

/// Does `body` 100 times.
fn repeated(body: &str) -> String {
    format!(
        "(loop $l {body} (br_if $l (i64.lt_u (local.tee $n (i64.add (local.get $n) (i64.const 1))) (i64.const 100))))"
    )
}

#[test]
fn a_unit_is_the_same_on_both_engines() {
    let nested = repeated("(call $nothing)").replace("$l", "$m");
    for body in [
        repeated(""),
        repeated("(drop (i64.div_u (local.get 0) (i64.const 3)))"),
        repeated("(drop (i64.rem_s (local.get $n) (i64.const 3)))"),
        repeated("(drop (i64.popcnt (i64.clz (i64.ctz (local.get 0)))))"),
        repeated("(drop (i32.popcnt (i32.clz (i32.ctz (i32.wrap_i64 (local.get 0))))))"),
        repeated("(block (br_table 0 0 0 (i32.wrap_i64 (local.get $n))))"),
        repeated("(block (block (br_table 1 0 1 (i32.wrap_i64 (local.get $n)))))"),
        repeated("nop (block (block (br_if 1 (i32.wrap_i64 (local.get $n)))))"),
        repeated("(i64.store32 (i32.const 0xe000) (i64.load16_s (i32.const 0xe000)))"),
        repeated("(drop (select (local.get 0) (local.get $n) (i64.eqz (local.get $n))))"),
        repeated("(call $nothing)"),
        repeated("(drop (call $time))"),
        repeated("(drop (call $load (i64.const 8)))"),
        repeated("(drop (call $add (i64.const 0x5742d0000000e000) (i64.const 8)))"),
        // Loops in loops, which those who enter them pay for.
        repeated("(loop (loop (loop)))"),
        nested,
    ] {
        let program = program(&body);
        let [interpreted, native] =
            [EngineKind::Wasmi, EngineKind::Jit].map(|engine| units(engine, &program));
        assert_eq!(interpreted, native, "{body}");
    }
}

#[test]
fn of_an_if_native_code_pays_for_the_dearer_arm() {
    let program = |condition: u32| {
        program(&repeated(&format!(
            "(if (i32.and (i32.wrap_i64 (local.get $n)) (i32.const {condition}))
               (then (call $nothing)) (else (call $nothing) (call $nothing)))"
        )))
    };
    // Never the first; then always it.
    let dearer = [EngineKind::Wasmi, EngineKind::Jit].map(|engine| units(engine, &program(0)));
    assert_eq!(dearer[0], dearer[1]);
    // The functions that are called pay for themselves.
    assert_eq!(units(EngineKind::Jit, &program(1)), dearer[1] - 50 * PLACE);
    assert_eq!(
        units(EngineKind::Wasmi, &program(1)),
        dearer[0] - 50 * (CALL + PLACE)
    );
}

#[test]
fn a_loop_pays_its_own_price_behind_a_dead_one() {
    let long =
        "(local.set 0 (i64.add (i64.rotl (local.get 0) (i64.const 7)) (i64.const 13)))".repeat(100);
    let live = format!("(loop $l {COUNTS} {long} (br $l)) (unreachable)");
    let of =
        |before: &str| format!(r#"(func (export "run") (param i64) (result i64) {before} {live})"#);
    let (alone, behind) = (of(""), of("(block (br 0) (loop nop) (loop (loop nop)))"));
    for engine in [EngineKind::Wasmi, EngineKind::Jit] {
        assert_eq!(turns(engine, &behind), turns(engine, &alone), "{engine:?}");
    }
    assert_eq!(
        turns(EngineKind::Wasmi, &alone),
        turns(EngineKind::Jit, &alone)
    );
}

#[test]
fn what_is_in_no_loop_is_paid_for_if_it_is_much() {
    let much = |count: usize| {
        let calls = "(drop (call $time))".repeat(count);
        format!(r#"(func (export "run") (param i64) (result i64) {calls} (i64.const 0))"#)
    };
    for engine in [EngineKind::Wasmi, EngineKind::Jit] {
        let run = |count, fuel| sandbox(engine, &much(count), fuel).run("run", &[]);
        let cost = 1000 * CALL + PLACE + 1;
        assert_eq!(run(1000, cost - 1), Err(budget()), "{engine:?}");
        assert_eq!(run(1000, cost), Ok(0), "{engine:?}");
    }
}

fn budget() -> Trapped {
    Trapped {
        trap: Trap::Budget,
        site: None,
    }
}

#[test]
fn a_table_leads_where_it_says_however_long_it_is() {
    const LENGTH: u32 = 8000;
    // Four blocks; target n leads to the block that a mix of its bits says.
    let target = |n: u32| ((n / 3) ^ (n / 700)) % 4;
    let mut table = String::new();
    for n in 0..LENGTH {
        let _ = write!(table, " {}", target(n));
    }
    let program = format!(
        r#"(func (export "run") (param i64) (result i64)
          (block (block (block (block
            (br_table {table} 2 (i32.wrap_i64 (i64.load (i32.wrap_i64 (local.get 0))))))
            (return (i64.const 0))) (return (i64.const 1))) (return (i64.const 2))) (i64.const 3))"#
    );
    for engine in [EngineKind::Wasmi, EngineKind::Jit] {
        let mut sandbox = sandbox(engine, &program, FUEL);
        for index in (0..LENGTH).step_by(41).chain([1, 2, 3, LENGTH - 1]) {
            let r0 = sandbox.run("run", &index.to_le_bytes());
            assert_eq!(r0, Ok(target(index).into()), "{engine:?} {index}");
        }
        for index in [LENGTH, LENGTH + 1, i32::MAX as u32, u32::MAX] {
            let r0 = sandbox.run("run", &index.to_le_bytes());
            assert_eq!(r0, Ok(2), "{engine:?} {index}");
        }
    }
}

/// A helper and the functions that it calls have one budget together.
#[test]
fn callbacks_pay_from_the_budget_that_called_them() {
    let functions = format!(
        r#"(table (export "callbacks") 1 funcref) (elem (i32.const 0) $each)
        (func $each (param i64 i64 i64 i64 i64) (result i64) {COUNTS} (i64.const 0))
        (func (export "run") (param i64) (result i64) (call $loop (i64.const 1000000) (i64.const 0) (i64.const 0) (i64.const 0)))"#
    );
    let [interpreted, native] =
        [EngineKind::Wasmi, EngineKind::Jit].map(|engine| turns(engine, &functions));
    assert_eq!(interpreted, native);
    let each = helpers::work::price::CALLBACK + PLACE + 7;
    assert!(
        (FUEL / each - 1..=FUEL / each).contains(&native),
        "{native}"
    );
}

#[test]
fn a_function_of_too_many_locals_is_refused() {
    let module = |locals: u64| {
        let locals = "i64 ".repeat(locals as usize);
        let text = format!(
            r#"(module (import "env" "memory" (memory 1)) (func (param i64) (local {locals})))"#
        );
        loader::user::compile(&wat::parse_str(text).unwrap(), 0x1_0000)
    };
    assert!(module(MAX_LOCALS).is_ok());
    let refusal = module(MAX_LOCALS + 1).unwrap_err().to_string();
    assert!(refusal.contains("more than 256 locals"), "{refusal}");
}

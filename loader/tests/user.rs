//! The user-space runtime on both engines, with modules written by hand as the translator writes them.

use abi::layout::{TAG, guest_ptr};
use abi::map_types::MapType;
use abi::traps::Trap;
use helpers::maps::MapSpec;
use loader::user::{EngineKind, Trapped, UserSandbox};

const ENGINES: [EngineKind; 3] = [EngineKind::Wasmi, EngineKind::Wasmtime, EngineKind::Jit];
const FUEL: u64 = 100_000;

/// A sandbox with one hash map and a module whose only export, `run`, has `body`.
fn sandbox(engine: EngineKind, body: &str) -> UserSandbox {
    let spec = MapSpec {
        map_type: MapType::Hash,
        key_size: 4,
        value_size: 8,
        max_entries: 8,
        flags: 0,
        inner: None,
    };
    let (mut sandbox, maps) = UserSandbox::new(engine, FUEL, &[("counts".into(), spec)]).unwrap();
    let text = format!(
        r#"(module
          (import "env" "stack_base" (global $stack i32))
          (import "map" "counts" (global $counts i64))
          (import "env" "memory" (memory 1))
          (import "env" "trap" (func $trap (param i32 i32)))
          (import "bpf" "map_lookup_elem" (func $lookup (param i64 i64) (result i64)))
          (import "bpf" "map_update_elem" (func $update (param i64 i64 i64 i64) (result i64)))
          (import "bpf" "probe_load64" (func $load (param i64) (result i64)))
          (import "bpf" "setsockopt" (func $missing (param i64 i64 i64 i64 i64) (result i64)))
          (import "atomic" "add64" (func $add (param i64 i64) (result i64)))
          (func $deep (export "deep") (param i64) (result i64) (call $deep (local.get 0)))
          (func (export "run") (param $ctx i64) (result i64) {body}))"#
    );
    sandbox
        .load(&wat::parse_str(text).unwrap(), &[maps[0].handle])
        .unwrap();
    sandbox
}

fn run(body: &str, context: &[u8]) -> [Result<u64, Trapped>; 3] {
    ENGINES.map(|engine| sandbox(engine, body).run("run", context))
}

#[test]
fn the_context_is_a_guest_pointer_and_comes_back_changed() {
    for engine in ENGINES {
        let mut sandbox = sandbox(
            engine,
            "(i64.store offset=8 (i32.wrap_i64 (local.get $ctx)) (i64.const 9)) (local.get $ctx)",
        );
        let r0 = sandbox.run("run", &[1; 16]).unwrap();
        assert_eq!((r0 >> 32) as u32, TAG);
        assert_eq!(sandbox.context(16), [[1; 8], 9u64.to_le_bytes()].concat());
    }
}

#[test]
fn maps_and_atomics_work_through_imports() {
    let stack = guest_ptr(0);
    let body = format!(
        "(local $key i64) (local $value i64)
         (local.set $key (i64.add (i64.const {stack}) (i64.extend_i32_u (global.get $stack))))
         (i32.store (global.get $stack) (i32.const 7))
         (i64.store offset=8 (global.get $stack) (i64.const 40))
         (drop (call $update (global.get $counts) (local.get $key)
                 (i64.add (local.get $key) (i64.const 8)) (i64.const 0)))
         (local.set $value (call $lookup (global.get $counts) (local.get $key)))
         (drop (call $add (local.get $value) (i64.const 2)))
         (i64.load (i32.wrap_i64 (local.get $value)))"
    );
    assert_eq!(run(&body, &[]), [Ok(42); 3]);
}

#[test]
fn every_way_to_end_early_has_its_trap() {
    for (body, trap, site) in [
        ("(unreachable)", Trap::Unreachable, None),
        ("(i64.load (i32.const -8))", Trap::OutOfBounds, None),
        ("(loop (br 0)) (i64.const 0)", Trap::Budget, None),
        ("(call $deep (local.get $ctx))", Trap::StackOverflow, None),
        (
            "(call $trap (i32.const 5) (i32.const 33)) (unreachable)",
            Trap::Poison,
            Some(33),
        ),
        (
            "(call $lookup (i64.const 1) (local.get $ctx))",
            Trap::BadMap,
            None,
        ),
        (
            "(call $lookup (global.get $counts) (i64.const 1))",
            Trap::BadPointer,
            None,
        ),
        (
            "(call $add (i64.add (local.get $ctx) (i64.const 1)) (i64.const 1))",
            Trap::Misaligned,
            None,
        ),
        (
            "(i64.div_s (i64.const 1) (i64.const 0))",
            Trap::IntegerDivision,
            None,
        ),
        (
            "(call $missing (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))",
            Trap::NoHelper,
            None,
        ),
    ] {
        for result in run(body, &[]) {
            // Deep recursion may use up its fuel or its stack first.
            if trap == Trap::StackOverflow
                && result
                    == Err(Trapped {
                        trap: Trap::Budget,
                        site,
                    })
            {
                continue;
            }
            assert_eq!(result, Err(Trapped { trap, site }), "{body}");
        }
    }
}

#[test]
fn a_trap_does_not_spoil_the_next_run() {
    for engine in ENGINES {
        let mut sandbox = sandbox(
            engine,
            "(if (i32.load (i32.wrap_i64 (local.get $ctx))) (then (loop (br 0)))) (i64.const 3)",
        );
        for _ in 0..3 {
            let trapped = sandbox.run("run", &1u64.to_le_bytes());
            assert_eq!(trapped.unwrap_err().trap, Trap::Budget);
            assert_eq!(sandbox.run("run", &0u64.to_le_bytes()), Ok(3));
        }
    }
}

#[test]
fn there_is_no_kernel_memory_to_load() {
    let body = "(call $load (i64.const -4096))";
    assert_eq!(run(body, &[]), [Ok(0); 3]);
}

#[test]
fn unknown_imports_are_refused_by_name() {
    for engine in ENGINES {
        let (mut sandbox, _) = UserSandbox::new(engine, FUEL, &[]).unwrap();
        let wasm = wat::parse_str(r#"(module (import "wasi" "exit" (func)))"#).unwrap();
        let error = sandbox.load(&wasm, &[]).unwrap_err().to_string();
        assert!(error.contains("wasi.exit"), "{error}");
    }
}

#[test]
fn addresses_are_checked_unless_they_cannot_leave_memory() {
    let mut addresses = vec![
        // A sum or a product that wraps, a shift by nothing, halves that hide what is above them.
        "(i32.add (i32.and (local.get $low) (i32.const 0xfc)) (i32.const 0x10000))".to_owned(),
        "(i32.add (i32.and (local.get $low) (i32.const -16)) (i32.const 32))".to_owned(),
        "(i32.shr_u (local.get $low) (i32.const 16))".to_owned(),
        "(i32.shr_u (local.get $low) (i32.const 32))".to_owned(),
        "(i32.shl (i32.and (local.get $low) (i32.const 7)) (i32.const 4))".to_owned(),
        "(i32.shl (i32.and (local.get $low) (i32.const 0xffff)) (i32.const 20))".to_owned(),
        "(i32.mul (i32.and (local.get $low) (i32.const 0xffff)) (i32.const 0x10001))".to_owned(),
        "(i32.mul (i32.and (local.get $low) (i32.const 15)) (i32.const 12))".to_owned(),
        "(i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 30)))".to_owned(),
        "(i32.wrap_i64 (i64.and (local.get $x) (i64.const 0x1000000ff)))".to_owned(),
        "(i32.wrap_i64 (i64.add (i64.and (local.get $x) (i64.const 0xffffffff)) (i64.const 0x100000000)))".to_owned(),
        "(i32.wrap_i64 (i64.mul (i64.and (local.get $x) (i64.const 0xff)) (i64.const 0x1000001)))".to_owned(),
    ];
    // Around the end of memory, wherever that is.
    addresses.extend((12..30).map(|bits| {
        let mask = (1u32 << bits) - 1;
        format!("(i32.and (local.get $low) (i32.const {mask}))")
    }));
    let mut outcomes = Vec::new();
    for (address, offset) in addresses.iter().flat_map(|a| [(a, 0), (a, 1), (a, 65_535)]) {
        let body = format!(
            "(local $x i64) (local $low i32)
             (local.set $x (i64.load (i32.wrap_i64 (local.get $ctx))))
             (local.set $low (i32.wrap_i64 (local.get $x)))
             (drop (i32.load offset={offset} {address}))
             (i64.const 1)"
        );
        for x in [
            0,
            1,
            0xff,
            0xffff,
            u64::from(u32::MAX) - 32,
            u64::from(u32::MAX),
            1 << 32,
            u64::MAX,
        ] {
            let [wasmi, wasmtime, jit] = run(&body, &x.to_le_bytes());
            assert_eq!(wasmi, wasmtime, "{address} + {offset} of {x:#x}");
            assert_eq!(
                jit.as_ref().ok(),
                wasmtime.as_ref().ok(),
                "{address} + {offset} of {x:#x}"
            );
            outcomes.push(jit.is_ok());
        }
    }
    assert!(outcomes.contains(&true) && outcomes.contains(&false));
}

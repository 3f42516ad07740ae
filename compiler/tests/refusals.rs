//! What is refused, and that nothing but a refusal comes of what is not compiled.

use abi::native::{DIGEST, Image};
use compiler::compile;
use wprobe_compiler as compiler;

const MEMORY: u32 = 0x2_0000;

fn digest(bytes: &[u8]) -> [u8; DIGEST] {
    let mut digest = [0; DIGEST];
    for (index, byte) in bytes.iter().enumerate() {
        digest[index % DIGEST] ^= byte;
    }
    digest
}

fn wasm(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {body})")).unwrap()
}

#[test]
fn what_cannot_be_compiled_is_refused_by_name() {
    for (module, why) in [
        ("(memory 1)", "a memory of its own"),
        (
            r#"(import "env" "memory" (memory 3))"#,
            "needs 196608 bytes of memory, the sandbox has 131072",
        ),
        (
            r#"(import "env" "memory" (memory 1 1))"#,
            "has 65536 bytes at most",
        ),
        ("(global (mut i32) (i32.const 0))", "variables of its own"),
        ("(func) (start 0)", "a start function"),
        (
            r#"(import "env" "memory" (memory 1)) (data (i32.const 0) "a")"#,
            "data segments",
        ),
        (r#"(import "core" "x" (global i64))"#, "import core.x"),
        (r#"(import "a" "b" (table 1 funcref))"#, "import a.b"),
        ("(table 1 funcref) (table 1 funcref)", "several tables"),
        (
            r#"(import "bpf" "loop" (func (param i32)))"#,
            "import bpf.loop: wrong type",
        ),
        ("(func (drop (f32.const 1)))", "instruction F32Const"),
        ("(func (local f64))", "floating-point numbers"),
        ("(func (param f64))", "other numbers than integers"),
        (
            "(table 1 funcref) (func (call_indirect (i32.const 0)))",
            "instruction CallIndirect",
        ),
        (
            "(func (param i64 i64 i64 i64 i64 i64))",
            "more than five parameters",
        ),
        (
            "(func (block (result i32 i32) (i32.const 1) (i32.const 2)) drop drop)",
            "several results",
        ),
        ("(func (result i32))", "does not validate"),
    ] {
        let module = match wat::parse_str(format!("(module {module})")) {
            Ok(module) => module,
            Err(error) => panic!("{module}: {error}"),
        };
        let refusal = compile(&module, MEMORY, digest, &|| false)
            .unwrap_err()
            .to_string();
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
}

#[test]
fn a_frame_that_is_too_large_is_refused() {
    let locals = 200;
    let sets: String = (0..locals)
        .map(|local| format!("(local.set {local} (call 0))"))
        .collect();
    let gets: String = (0..locals)
        .map(|local| format!("(drop (local.get {local}))(drop (call 0))"))
        .collect();
    let module = wasm(&format!(
        r#"(import "bpf" "ktime_get_ns" (func (result i64)))
        (func (local {}) {sets} {gets})"#,
        "i64 ".repeat(locals)
    ));
    let refusal = compile(&module, MEMORY, digest, &|| false)
        .unwrap_err()
        .to_string();
    assert!(refusal.contains("of stack, 1024 is the most"), "{refusal}");
}

#[test]
fn an_image_has_what_the_module_has() {
    let module = wasm(
        r#"(import "env" "memory" (memory 1))
        (import "bpf" "get_stackid" (func $id (param i64 i64 i64) (result i64)))
        (table (export "callbacks") 3 funcref)
        (elem (i32.const 1) $back $own)
        (func $back (param i64 i64 i64 i64 i64) (result i64) (local.get 4))
        (func $own (param i32) (result i32) (local.get 0))
        (func (export "a:b:c") (param i64) (result i64)
            (call $id (local.get 0) (i64.const 0) (i64.const 0)))
        (func (export "no program") (param i32))"#,
    );
    let bytes = compile(&module, MEMORY, digest, &|| false).unwrap();
    let image = Image::read(&bytes).unwrap();
    assert_eq!(image.checksum, digest(image.body));
    assert_eq!(image.wasm, digest(&module));
    let programs: Vec<_> = image.programs().map(|p| p.name).collect();
    assert_eq!(programs, ["a:b:c"]);
    let callbacks: Vec<_> = image.callbacks().map(|c| c == abi::native::NONE).collect();
    assert_eq!(callbacks, [true, false, true]);
    let entry = image.programs().next().unwrap().entry as usize;
    assert_eq!(image.text[entry..entry + 4], [0xf3, 0x0f, 0x1e, 0xfa]);
}

#[test]
fn a_program_says_how_much_of_its_context_it_reads() {
    let context = |body: &str| {
        let module = wasm(&format!(
            r#"(import "env" "memory" (memory 1))
            (import "bpf" "get_stackid" (func $id (param i64 i64 i64) (result i64)))
            (import "bpf" "probe_read" (func $read (param i64 i64 i64) (result i64)))
            (func (export "a:b:c") (param i64) (result i64) (local i64) {body})"#
        ));
        let image = compile(&module, MEMORY, digest, &|| false).unwrap();
        let program = Image::read(&image).unwrap().programs().next().unwrap();
        program.context
    };
    assert_eq!(context("(i64.const 0)"), 0);
    assert_eq!(
        context("(i64.load offset=104 (i32.wrap_i64 (local.get 0)))"),
        112
    );
    let id = "(call $id (local.get 0) (i64.const 0) (i64.const 0))";
    assert_eq!(context(id), 0);
    let read = "(call $read (i64.const 0) (i64.const 8) (local.get 0))";
    assert_eq!(context(read), u32::MAX);
    assert_eq!(context("(local.get 0)"), u32::MAX);
    let copied = "(local.set 1 (i64.add (local.get 0) (i64.const 8)))
        (i64.load (i32.wrap_i64 (local.get 1)))";
    assert_eq!(context(copied), 16);
    let changed = "(local.set 1 (local.get 0))
        (loop (local.set 1 (i64.add (local.get 1) (i64.const 8)))
          (br_if 0 (i32.load (i32.wrap_i64 (local.get 1))))) (i64.const 0)";
    assert_eq!(context(changed), u32::MAX);
}

/// A number that no two calls give.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn damaged_modules_are_compiled_or_refused() {
    let module = wasm(
        r#"(import "env" "memory" (memory 1))
        (import "env" "stack_base" (global $stack i32))
        (import "atomic" "add64" (func $add (param i64 i64) (result i64)))
        (import "atomic" "cmpxchg32" (func $swap (param i64 i64 i64) (result i64)))
        (import "bpf" "ktime_get_ns" (func $now (result i64)))
        (func $own (param i64 i32) (result i64) (local i64 i64)
            (local.set 2 (i64.const 3))
            (block (loop
                (br_if 1 (i64.eqz (local.get 2)))
                (local.set 2 (i64.sub (local.get 2) (i64.const 1)))
                (i64.store offset=8 (i32.wrap_i64 (local.get 0)) (call $now))
                (br 0)))
            (if (result i64) (local.get 1) (then (call $add (local.get 0) (local.get 2)))
              (else (i64.div_s (local.get 2) (i64.shl (local.get 0) (local.get 3))))))
        (func (export "run") (param i64) (result i64)
            (block (block (block
              (br_table 0 1 2 (i32.load (global.get $stack)))))
            (return (call $own (local.get 0) (i32.const 1))))
            (select (call $swap (local.get 0) (i64.const 1) (i64.const 2))
              (i64.clz (local.get 0)) (i64.lt_u (local.get 0) (i64.const 9))))"#,
    );
    compile(&module, MEMORY, digest, &|| false).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut compiled, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut damaged = module.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(damaged.len());
            damaged[at] = random.below(256) as u8;
        }
        match compile(&damaged, MEMORY, digest, &|| false) {
            Ok(image) => {
                Image::read(&image).unwrap();
                compiled += 1;
            }
            Err(refusal) => {
                let refusal = refusal.to_string();
                assert!(!refusal.contains("the compiler failed"), "{refusal}");
                refused += 1;
            }
        }
    }
    assert!(compiled > 1_000 && refused > 1_000, "{compiled}, {refused}");
}

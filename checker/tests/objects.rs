//! All honest code passes.

mod asm;
mod honest;

use asm::checked;
use honest::{MEMORY, by_hand, compiled, objects};

#[test]
fn every_object_that_is_compiled_is_proven() {
    let (mut count, mut refused, mut uncompiled) = (0, Vec::new(), Vec::new());
    let (mut passes, mut functions, mut steps, mut bytes) = (0, 0, 0, 0);
    let mut most = 0;
    for module in objects(1).into_iter().chain(objects(2)).chain(by_hand()) {
        let image = match compiled(&module.wasm, MEMORY) {
            Ok(image) => image,
            Err(why) => {
                uncompiled.push(format!("{}: {why}", module.name));
                continue;
            }
        };
        count += 1;
        match checked(&image) {
            Ok(proven) => {
                passes += proven.passes;
                functions += proven.functions;
                steps += proven.steps;
                bytes += image.len();
                most = most.max(proven.steps / image.len() as u64);
            }
            Err(refusal) => refused.push(format!("{}: {refusal}", module.name)),
        }
    }
    println!(
        "{count} images, {functions} functions, {passes} passes, {steps} steps for {bytes} bytes, {most} a byte at most"
    );
    println!("{uncompiled:#?}");
    // Far from what is allowed.
    assert!(
        most < wprobe_checker::STEPS_A_BYTE / 4,
        "{most} steps a byte"
    );
    assert!(count > 100, "objects are missing: {count}");
    assert!(
        refused.is_empty(),
        "{} of {count}: {refused:#?}",
        refused.len()
    );
}

/// The way on which the runtime is asked about an atomic operation changes registers, those too that hold a copy of a local.
#[test]
fn no_copy_of_a_local_outlives_an_atomic_operation() {
    let module = r#"(module
        (import "env" "memory" (memory 1))
        (import "atomic" "add64" (func $add (param i64 i64) (result i64)))
        (func $own (result i64) (i64.const 4096))
        (func (export "p") (param i64) (result i64) (local i64 i64)
            (local.set 1 (call $own))
            (local.set 2 (i64.load offset=8 (i32.wrap_i64 (local.get 1))))
            (drop (call $add (local.get 2) (i64.const 1)))
            (local.set 2 (i64.load (i32.wrap_i64 (local.get 1))))
            (i64.add (call $own) (i64.add (local.get 1) (local.get 2)))))"#;
    let wasm = wat::parse_str(module).expect("a module");
    let image = compiled(&wasm, MEMORY).expect("it is compiled");
    checked(&image).expect("it is proven");
}

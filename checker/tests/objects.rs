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

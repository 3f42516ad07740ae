//! What the compiler makes of made-up modules is proven, too. `CHECKED_MODULES=N` tries more of them.

mod asm;
mod honest;
mod made_up;

use asm::checked;
use honest::compiled;
use made_up::{Random, module};

#[test]
fn made_up_modules_are_proven() {
    let count = std::env::var("CHECKED_MODULES").map_or(3000, |n| n.parse().unwrap());
    let mut random = Random(1);
    let (mut made, mut passes, mut functions) = (0, 0, 0);
    for number in 0..count {
        let wasm = module(&mut random);
        let Ok(image) = compiled(&wasm, 0x1_0000) else {
            continue;
        };
        made += 1;
        match checked(&image) {
            Ok(proven) => {
                passes += proven.passes;
                functions += proven.functions;
            }
            Err(refusal) => {
                let text = wasmprinter::print_bytes(&wasm).unwrap();
                panic!("module {number}: {refusal}\n{text}");
            }
        }
    }
    println!("{made} of {count} compiled: {functions} functions, {passes} passes");
    assert!(made > count / 2, "{made} of {count} are compiled");
}

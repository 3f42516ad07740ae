//! Compiles a module, wasm or its text: says how long that takes and how much it makes, and writes its text.

use std::time::Instant;

use abi::native::Image;
use wprobe_compiler::compile;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: compile MODULE [TEXT]";
    let wasm = wat::parse_file(args.next().ok_or(usage)?)?;
    let memory = 1 << 20;
    let mut best = f64::MAX;
    let mut image = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        image = compile(&wasm, memory, |_| [0; 32], &|| false)
            .map_err(|refused| refused.to_string())?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let text = Image::read(&image)
        .map_err(|invalid| invalid.to_string())?
        .text;
    println!(
        "{} bytes of wasm, {} of text, {:.0} µs",
        wasm.len(),
        text.len(),
        best * 1e6
    );
    if let Some(path) = args.next() {
        std::fs::write(path, text)?;
    }
    Ok(())
}

//! What holds for any input: no panic; a refusal, or a module that passes `check`; size and time in proportion to
//! the input. The tests and the targets in `fuzz/` call the same functions.

use std::time::{Duration, Instant};

use bpf2wasm::{
    Converted, Options, Raw, Result, check, check_programs, convert, convert_raw, disassemble,
    embedded_objects, list,
};

/// Bytes of module for a byte of input, and for none.
const GROWTH: usize = 64;
const LEAST: usize = 1 << 16;

/// Time for a KiB of input, debug builds and busy machines included, and for none.
const PACE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether `bytes`, an ELF file or not, converts.
pub(crate) fn object(bytes: &[u8]) -> bool {
    let start = Instant::now();
    let options = Options::default();
    let _ = embedded_objects(bytes);
    let converted = convert(bytes, "x", &options);
    if let Ok(checks) = check_programs(bytes, "x", &options) {
        // Each program has the same verdict by itself and among the others.
        let refused = checks.iter().filter(|c| c.result.is_err()).count();
        match &converted {
            Ok(converted) => assert_eq!(converted.manifest.refused.len(), refused),
            Err(_) => assert!(refused == checks.len(), "a program of it is translated"),
        }
    }
    assert!(converted.is_err() || list(bytes, "x", &options).is_ok());
    holds(converted, bytes.len(), start)
}

/// Whether `code`, instructions or not, converts.
pub(crate) fn code(code: &[u8]) -> bool {
    let start = Instant::now();
    let raw = Raw {
        code,
        section: "tracepoint/a/b",
        maps: &[],
        license: "",
    };
    let converted = convert_raw(&raw, "x", &Options::default());
    assert!(converted.is_err() || disassemble(code).is_ok());
    holds(converted, code.len(), start)
}

fn holds(converted: Result<Converted>, input: usize, start: Instant) -> bool {
    let time = PATIENCE + PACE * (input / 1024) as u32;
    assert!(start.elapsed() < time, "{:?}", start.elapsed());
    let Ok(converted) = converted else {
        return false;
    };
    check(&converted.wasm).expect("a module within the contract");
    let size = converted.wasm.len();
    assert!(size <= LEAST + GROWTH * input, "{size} B from {input} B");
    true
}

//! Arbitrary ELF bytes.
#![no_main]

#[allow(dead_code, reason = "each target uses its own half")]
#[path = "../../tests/it/properties.rs"]
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    properties::object(bytes);
});

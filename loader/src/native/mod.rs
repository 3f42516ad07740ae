//! Ahead-of-time compilation: from a translated module to native code for a runtime.
//!
//! wasm → Cranelift's IR ([`function`]) → x86-64 ([`link`]) → an image ([`abi::native`]). What the loader knows is
//! compiled in: values ([`crate::constants`]), so that CO-RE branches and addresses of data fold away, and the size of
//! memory, so that a bound is an immediate. What a CPU has for itself comes through [`abi::native::Vm`].
//!
//! **Invariant:** an access has a bounds check, unless its address is the stack's or the context's, which the runtime places, plus a
//! constant, or a constant; nothing is taken on the translator's word. No instruction faults: what may trap is checked and
//! calls the runtime. No jump or call is indirect, and functions return through the kernel's own return.

mod access;
pub mod cache;
mod calls;
mod context;
mod control;
mod function;
mod link;
mod module;
mod operators;

use std::fmt;

use wasmparser::BinaryReaderError;

/// Why a module is not compiled.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// It is no valid wasm.
    Wasm(String),
    /// It has what this compiler does not take.
    Unsupported(String),
    /// Something is too large.
    TooLarge(String),
    /// Cranelift refuses a function.
    Compiler(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wasm(why) => write!(f, "module does not validate: {why}"),
            Self::Unsupported(what) => write!(f, "no native code for a module with {what}"),
            Self::TooLarge(what) => write!(f, "no native code: {what}"),
            Self::Compiler(why) => write!(f, "the compiler failed: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<BinaryReaderError> for Error {
    fn from(error: BinaryReaderError) -> Self {
        Self::Wasm(error.to_string())
    }
}

/// Compiles `wasm` for `memory` bytes of guest memory; an image.
pub fn compile(wasm: &[u8], memory: u32) -> Result<Vec<u8>, Error> {
    let module = module::Module::read(wasm, memory)?;
    link::link(wasm, &module)
}

#[cfg(test)]
mod tests {
    use abi::native::Image;

    use super::*;

    fn compiled(text: &str) -> Result<Vec<u8>, Error> {
        compile(&wat::parse_str(text).unwrap(), 0x2_0000)
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
            (r#"(import "core" "x" (global i64))"#, "import core.x"),
            (r#"(import "a" "b" (table 1 funcref))"#, "import a.b"),
            (
                r#"(import "bpf" "loop" (func (param i32)))"#,
                "import bpf.loop: wrong type",
            ),
            ("(func (drop (f32.const 1)))", "does not validate"),
            (
                "(table 1 funcref) (func (call_indirect (i32.const 0)))",
                "instruction CallIndirect",
            ),
            (
                "(func (param i64 i64 i64 i64 i64 i64))",
                "more than five parameters",
            ),
        ] {
            let refusal = compiled(&format!("(module {module})")).unwrap_err();
            assert!(refusal.to_string().contains(why), "{module}: {refusal}");
        }
    }

    #[test]
    fn a_program_says_how_much_of_its_context_it_reads() {
        let context = |body: &str| {
            let image = compiled(&format!(
                r#"(module (import "env" "memory" (memory 1))
                (import "bpf" "get_stackid" (func $id (param i64 i64 i64) (result i64)))
                (import "bpf" "probe_read" (func $read (param i64 i64 i64) (result i64)))
                (func (export "a:b:c") (param i64) (result i64) {body}))"#
            ));
            let image = image.unwrap();
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
    }
}

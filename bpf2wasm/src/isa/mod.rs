//! eBPF instructions: the table, and what derives from it.
//!
//! [`table`] has one row per (class, operation). The decoder, the field check, the disassembler, the
//! test assembler and the dispatch to lowering shapes all read it; none of them lists opcodes.

pub(crate) mod asm;
pub(crate) mod decode;
pub(crate) mod disasm;
pub(crate) mod insn;
pub(crate) mod pairs;
pub(crate) mod table;

//! The imports of a translated module: every module name and every non-helper item, once.
//!
//! A runtime refuses a module that imports anything else. Globals are all immutable.
//!
//! | module | item | type | meaning |
//! |---|---|---|---|
//! | `env` | `memory` | memory | the sandbox's linear memory, owned by the runtime |
//! | `env` | `stack_base` | global i32 | lowest byte of this instance's stack; **always global 0** |
//! | `env` | `trap` | func (i32 code, i32 site) | ends the run, see [`crate::traps`]; does not return |
//! | `bpf` | helper name | func (i64 × arity) → i64 | see [`crate::helpers`] |
//! | `bpf` | `packet_load{8,16,32}` | func (i64 context, i64 offset) → i64 | legacy packet load in host order; all ones if the packet is too short |
//! | `bpf` | `probe_load{8,16,32,64}` | func (i64 address) → i64 | zero-extended load of kernel memory; 0 on a fault, as `BPF_PROBE_MEM` |
//! | `bpf` | `tail_call_within` | func (i64 context, i64 map, i64 index, i64 bytes) → i64 | see [`TAIL_CALL_WITHIN`] |
//! | `bpf` | `tail_call_result` | func () → i64 | see [`TAIL_CALL_RESULT`] |
//! | `atomic` | `add32`, `xchg64`, … | func (i64 guest pointer, i64 operand) → i64 old | atomic read-modify-write, result zero-extended |
//! | `atomic` | `cmpxchg{32,64}` | func (i64 pointer, i64 expected, i64 new) → i64 old | |
//! | `map` | map name | global i64 | the map's handle; for a data section the guest pointer of its first byte |
//! | `map_value` | map name | global i64 | guest pointer of element 0 of an array map, in a per-CPU one of CPU 0's |
//! | `map_entries` | map name | global i64 | how many elements an array map has |
//! | `map_apart` | map name | global i64 | bytes from a CPU's element of a per-CPU array map to the next CPU's |
//! | `core` | see [`crate::manifest::CoreRelocation`] | global i64 | value of a CO-RE relocation, or [`resized`], or [`POISON`] |
//! | `ksym` | extern's name | global i64 | address of a kernel symbol; an unresolved weak one is 0 |
//! | `kfunc` | kernel function's name | func (i64 × 5) → i64 | |
//! | `provided` | `bpf.NAME` or `kfunc.NAME` | global i64 | whether that function is there to be called: 1, or 0 |
//!
//! `.kconfig` externs are no imports: as in libbpf they are variables of a data section, `map..kconfig`,
//! that the loader fills before load.
//!
//! Functions whose address is taken (callbacks) are exported in the table [`CALLBACKS`], all as
//! func (i64 × 5) → i64. Element 0 is null; the number a program passes for a callback is the index.
//!
//! The globals follow `env.stack_base` directly and without gaps. The loader makes those that are values constants of the
//! module; no runtime knows them as imports.

/// Memory, stack base and trap.
pub const ENV: &str = "env";
/// `env.memory`.
pub const MEMORY: &str = "memory";
/// `env.stack_base`.
pub const STACK_BASE: &str = "stack_base";
/// `env.trap`.
pub const TRAP: &str = "trap";
/// Helpers and `probe_load*`.
pub const BPF: &str = "bpf";
/// Atomic read-modify-write operations.
pub const ATOMIC: &str = "atomic";
/// Map handles and data-section addresses.
pub const MAP: &str = "map";
/// Addresses of array maps' first elements (`BPF_PSEUDO_MAP_VALUE`).
pub const MAP_VALUE: &str = "map_value";
/// How many elements array maps have.
pub const MAP_ENTRIES: &str = "map_entries";
/// How far apart the CPUs' elements of per-CPU array maps are.
pub const MAP_APART: &str = "map_apart";
/// CO-RE relocation values.
pub const CORE: &str = "core";
/// Addresses of `.ksyms` externs.
pub const KSYM: &str = "ksym";
/// Kernel functions.
pub const KFUNC: &str = "kfunc";
/// Whether functions are there that the runtimes of the translator's version lack.
pub const PROVIDED: &str = "provided";

/// The import modules whose globals are values that the loader computes.
pub const VALUE_MODULES: &[&str] = &[MAP, MAP_VALUE, MAP_ENTRIES, MAP_APART, CORE, KSYM, PROVIDED];

/// The export of the function table, where a module has one.
pub const CALLBACKS: &str = "callbacks";

/// The value of a relocation that the target kernel cannot satisfy. Reaching an instruction that
/// uses it traps with [`crate::traps::Trap::Poison`]; it is never used as a value.
pub const POISON: i64 = 0x0BAD_2310_DEAD_C0DE;

/// The value of a relocated load or store whose field the target kernel has at `offset`, in `bytes` other than the access was
/// compiled for. All values but enumerators' are below 2³² where nothing is unusual.
pub const fn resized(offset: u32, bytes: u32) -> u64 {
    (bytes as u64) << 32 | offset as u64
}

/// `bpf.probe_load*`: name and width in bytes.
pub const PROBE_LOADS: &[(&str, u32)] = &[
    ("probe_load8", 1),
    ("probe_load16", 2),
    ("probe_load32", 4),
    ("probe_load64", 8),
];

/// `bpf.packet_load*`: name and width in bytes.
pub const PACKET_LOADS: &[(&str, u32)] = &[
    ("packet_load8", 1),
    ("packet_load16", 2),
    ("packet_load32", 4),
];

/// `bpf.tail_call_within`: a tail call from a function that a program calls, of (context, map, index, bytes). The program of the
/// map runs to its end, on the stack from its beginning; so many bytes of it, the frames of those who wait, are put back then.
/// 1, and the result is [`TAIL_CALL_RESULT`]'s, or 0 if there is no such program.
pub const TAIL_CALL_WITHIN: &str = "tail_call_within";

/// `bpf.tail_call_result`: what the program of the last [`TAIL_CALL_WITHIN`] gave.
pub const TAIL_CALL_RESULT: &str = "tail_call_result";

/// Operations of the `atomic` module, each in a 32 and a 64 bit form (`add32`, `add64`).
/// All return the old value; `cmpxchg` takes (pointer, expected, new), the others (pointer, operand).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomicOp {
    /// `*p += v`
    Add,
    /// `*p |= v`
    Or,
    /// `*p &= v`
    And,
    /// `*p ^= v`
    Xor,
    /// `*p = v`
    Xchg,
    /// `if *p == expected { *p = new }`
    Cmpxchg,
}

/// Every atomic import: name, operation, width in bytes.
pub const ATOMICS: &[(&str, AtomicOp, u32)] = &[
    ("add32", AtomicOp::Add, 4),
    ("add64", AtomicOp::Add, 8),
    ("or32", AtomicOp::Or, 4),
    ("or64", AtomicOp::Or, 8),
    ("and32", AtomicOp::And, 4),
    ("and64", AtomicOp::And, 8),
    ("xor32", AtomicOp::Xor, 4),
    ("xor64", AtomicOp::Xor, 8),
    ("xchg32", AtomicOp::Xchg, 4),
    ("xchg64", AtomicOp::Xchg, 8),
    ("cmpxchg32", AtomicOp::Cmpxchg, 4),
    ("cmpxchg64", AtomicOp::Cmpxchg, 8),
];

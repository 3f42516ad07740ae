//! Modules that call every import, mostly with what it asks for, sometimes with numbers that were, or look like,
//! something: pointers across the ends of memory, into the kernel; handles; lengths; results of earlier calls.

use abi::helpers::{Arg, HELPERS};
use abi::imports::{ATOMIC, ATOMICS, AtomicOp, BPF, ENV, MAP, MEMORY, PACKET_LOADS, PROBE_LOADS};
use abi::layout::{guest_ptr, map_handle};
use abi::map_types::MapType;
use helpers::imports::host_function;
use loader::user::UserHost;
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalType, ImportSection, MemArg, MemArgTarget, MemoryType, Module,
    TypeSection, ValType,
};

use super::{PROGRAM, rig};
use crate::random::Random;

/// Calls in a program.
const CALLS: usize = 48;
/// Locals that hold results.
const LOCALS: u32 = 8;

/// The module of `seed`.
pub fn module(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let functions = functions();
    let mut module = Module::new();
    module.section(&types());
    module.section(&imports(&functions));
    let mut section = FunctionSection::new();
    section.function(1);
    module.section(&section);
    let mut exports = ExportSection::new();
    exports.export(PROGRAM, ExportKind::Func, functions.len() as u32);
    module.section(&exports);
    let mut code = CodeSection::new();
    code.function(&body(&mut random, &functions));
    module.section(&code);
    module.section(&texts(&mut random));
    module.section(&super::LICENCE);
    module.finish()
}

/// A function that a module may import.
struct Import {
    module: &'static str,
    name: &'static str,
    args: Vec<Arg>,
    /// Whether the runtime has it. A call of one that it lacks ends the run.
    provided: bool,
}

fn functions() -> Vec<Import> {
    let import = |module, name, args: &[Arg]| Import {
        module,
        name,
        args: args.to_vec(),
        provided: host_function::<UserHost>(module, name).is_some_and(|f| f.provided),
    };
    // A signal would end the process that fires.
    let harmless = |name: &str| !name.starts_with("send_signal");
    let helpers = HELPERS.iter().filter(|h| harmless(h.name));
    let helpers = helpers.map(|h| import(BPF, h.name, h.args));
    let loads = PROBE_LOADS
        .iter()
        .map(|row| import(BPF, row.0, &[Arg::Unsafe]));
    let packets = PACKET_LOADS
        .iter()
        .map(|row| import(BPF, row.0, &[Arg::Ctx, Arg::Scalar]));
    let atomics = ATOMICS.iter().map(|&(name, op, _)| {
        let params = if op == AtomicOp::Cmpxchg { 3 } else { 2 };
        let args = [Arg::InOut, Arg::Scalar, Arg::Scalar];
        import(ATOMIC, name, &args[..params])
    });
    helpers.chain(loads).chain(packets).chain(atomics).collect()
}

/// Type `n` has `n` parameters.
fn types() -> TypeSection {
    let mut types = TypeSection::new();
    for params in 0..=5 {
        types
            .ty()
            .function([ValType::I64].repeat(params), [ValType::I64]);
    }
    types
}

/// A memory of a page at least, as modules of sandboxes import it.
pub(crate) const PAGE: MemoryType = MemoryType {
    minimum: 1,
    maximum: None,
    memory64: false,
    shared: false,
    page_size_log2: None,
};

fn imports(functions: &[Import]) -> ImportSection {
    let mut imports = ImportSection::new();
    imports.import(ENV, MEMORY, PAGE);
    for (map_type, ..) in rig::MAPS {
        let global = GlobalType {
            val_type: ValType::I64,
            mutable: false,
            shared: false,
        };
        imports.import(MAP, map_type.name(), global);
    }
    for import in functions {
        let ty = EntityType::Function(import.args.len() as u32);
        imports.import(import.module, import.name, ty);
    }
    imports
}

fn body(random: &mut Random, functions: &[Import]) -> Function {
    let provided: Vec<_> = (0..functions.len())
        .filter(|i| functions[*i].provided)
        .collect();
    let mut body = Function::new([(LOCALS, ValType::I64)]);
    for _ in 0..CALLS {
        let function = match random.below(64) {
            0 => random.below(functions.len()),
            _ => random.pick(&provided),
        };
        for arg in &functions[function].args {
            push(random, *arg, functions[function].name, &mut body);
        }
        body.instructions()
            .call(function as u32)
            .local_set(1 + random.below(LOCALS as usize) as u32);
        if random.below(8) == 0 {
            store(random, &mut body);
        }
    }
    body.instructions().i64_const(0).end();
    body
}

/// An argument: what is asked for, or anything.
fn push(random: &mut Random, arg: Arg, function: &str, body: &mut Function) {
    let mut code = body.instructions();
    let maps = rig::MAPS.len();
    let fitting: Vec<_> = (0..maps)
        .filter(|&i| fits(function, rig::MAPS[i].0))
        .collect();
    match (random.below(32), arg) {
        (0, _) => code.i64_const(odd(random) as i64),
        (1, _) => code.i64_const(pointer(random) as i64),
        (2, _) => code.global_get(random.below(maps) as u32),
        (3, _) | (_, Arg::Record | Arg::Kernel | Arg::Opaque) => {
            code.local_get(random.below(LOCALS as usize + 1) as u32)
        }
        (_, Arg::Map) if !fitting.is_empty() => code.global_get(random.pick(&fitting) as u32),
        (_, Arg::Ctx) => code.local_get(0),
        (_, Arg::Scalar | Arg::Size | Arg::Callback) => code.i64_const(random.below(65) as i64),
        (_, Arg::Unsafe) => code.i64_const(odd(random) as i64),
        _ => {
            code.i64_const(guest_ptr((random.word() as u32 % (rig::SIZE as u32 - 256)) & !7) as i64)
        }
    };
}

/// Whether a function is for maps of this type.
fn fits(function: &str, map_type: MapType) -> bool {
    use MapType::*;
    let of_its_own = match map_type {
        Queue | Stack | BloomFilter => &["map_push_elem", "map_pop_elem", "map_peek_elem"][..],
        PerfEventArray => &["perf_event_output"],
        Ringbuf => &["ringbuf_output", "ringbuf_reserve", "ringbuf_query"],
        StackTrace => &["get_stackid"],
        CgroupArray => &["current_task_under_cgroup"],
        ProgArray => &["tail_call"],
        TaskStorage => &["task_storage_get", "task_storage_delete"],
        PercpuArray | PercpuHash | LruPercpuHash if function == "map_lookup_percpu_elem" => {
            return true;
        }
        ArrayOfMaps | HashOfMaps => &["map_lookup_elem"],
        _ => &[
            "map_lookup_elem",
            "map_update_elem",
            "map_delete_elem",
            "for_each_map_elem",
        ],
    };
    of_its_own.contains(&function)
}

/// A pointer into memory, most of the time wholly.
fn pointer(random: &mut Random) -> u64 {
    let end = rig::SIZE as u32;
    let near = random.below(64) as u32;
    guest_ptr(match random.below(8) {
        0 => near,
        1 => end - near,
        2 => end + near,
        3 => random.word() as u32,
        _ => (random.word() as u32 % end) & !7,
    })
}

fn odd(random: &mut Random) -> u64 {
    let near = random.below(64) as u64;
    let number = random.pick(&[
        0,
        u64::MAX,
        1 << 63,
        u64::from(u32::MAX),
        1 << 31,
        rig::SIZE,
        4096,
        0x1000,
        0xffff_ffff_8100_0000,
        0xffff_8000_0000_0000,
        0x0000_8000_0000_0000,
        0xffff_ffff_ff60_0000,
        map_handle(0),
        map_handle(u32::MAX),
    ]);
    match random.below(4) {
        0 => random.word(),
        1 => number.wrapping_sub(near),
        _ => number.wrapping_add(near),
    }
}

/// A store somewhere, mostly within memory.
fn store(random: &mut Random, body: &mut Function) {
    let at = MemArg {
        offset: 0,
        align: 0,
        target: MemArgTarget::Memory(0),
        ordering: None,
    };
    let address = random.word() as u32 % (rig::SIZE as u32 + 64);
    body.instructions()
        .i32_const(address as i32)
        .i64_const(odd(random) as i64)
        .i64_store(at);
}

/// Formats and other strings at the places where pointers lead.
fn texts(random: &mut Random) -> DataSection {
    const PIECES: &[&str] = &[
        "%s", "%d", "%p", "%pI4", "%pi6", "%n", "%llx", "%pks", "%pus", "%%", "%*d", "%9999d",
        "abc", "\0",
    ];
    let mut data = DataSection::new();
    for _ in 0..16 {
        let text: String = (0..6).map(|_| random.pick(PIECES)).collect();
        let at = random.below(rig::SIZE as usize - 64);
        data.active(0, &ConstExpr::i32_const(at as i32), text.into_bytes());
    }
    data
}

//! Every refusal, by its message; and that nothing ever panics.

use bpf2wasm::{
    Options, Raw, assemble, check, convert, convert_raw, embedded_objects, pick, read_manifest,
};
use object::{Architecture, Endianness};
use wasm_encoder::{
    EntityType, GlobalSection, GlobalType, ImportSection, Module, StartSection, TypeSection,
    ValType,
};

use crate::properties;
use crate::support::elf::Builder;

const EXIT: &str = "mov r0, 0\nexit";

fn refusal(object: &[u8]) -> String {
    convert(object, "x.bpf.o", &Options::default())
        .expect_err("a refusal")
        .to_string()
}

fn refused_code(code: &[u8]) -> String {
    let raw = Raw {
        code,
        section: "syscall",
        maps: &[],
        license: "",
    };
    convert_raw(&raw, "prog", &Options::default())
        .expect_err("a refusal")
        .to_string()
}

fn refused(assembly: &str) -> String {
    refused_code(&assemble(assembly).expect("correct assembly"))
}

#[test]
fn files_that_are_no_objects() {
    assert_eq!(refusal(b"hello"), "x.bpf.o: not an ELF file");
    assert_eq!(
        embedded_objects(b"").unwrap_err().to_string(),
        "not an ELF file"
    );
    let x86 = Builder::of(Architecture::X86_64, Endianness::Little).build();
    let text = "ELF machine 62 is not BPF (247), and no BPF object is embedded";
    assert_eq!(refusal(&x86), format!("x.bpf.o: {text}"));
    assert_eq!(embedded_objects(&x86).unwrap_err().to_string(), text);
    let shell = std::fs::read("/bin/sh").expect("a shell");
    assert_eq!(
        embedded_objects(&shell).unwrap_err().to_string(),
        "no BPF object is embedded in it"
    );
    let big = Builder::of(Architecture::Bpf, Endianness::Big)
        .code("xdp", "f", &[0; 8])
        .build();
    assert_eq!(refusal(&big), "x.bpf.o: big-endian BPF is not supported");
}

#[test]
fn executables_with_several_objects() {
    let object = Builder::new().function("xdp", "f", EXIT).build();
    let mut file = Builder::of(Architecture::X86_64, Endianness::Little).build();
    file[16] = 2; // ET_EXEC
    file.extend(&object);
    file.extend(&object);
    let objects = embedded_objects(&file).unwrap();
    assert_eq!(
        objects.iter().map(|o| o.bytes).collect::<Vec<_>>(),
        [&object, &object]
    );
    let several = pick(objects.clone(), None).unwrap_err().to_string();
    assert_eq!(
        several,
        "holds several BPF objects (#0, #1): pick one by name or index"
    );
    assert_eq!(
        pick(objects.clone(), Some("1")).unwrap().offset,
        objects[1].offset
    );
    assert_eq!(
        pick(objects, Some("a")).unwrap_err().to_string(),
        "holds no BPF object \"a\", only #0, #1"
    );
}

#[test]
fn objects_without_what_is_needed() {
    let nothing = "x.bpf.o: neither programs nor maps";
    assert_eq!(refusal(&Builder::new().build()), nothing);
    let subprogram = Builder::new().function(".text", "f", EXIT).build();
    assert_eq!(refusal(&subprogram), nothing);
    let custom = Builder::new().function("mine", "f", EXIT).build();
    assert_eq!(
        refusal(&custom),
        "x.bpf.o: program f: section \"mine\" is of no supported program type"
    );
    let typed = |what: &str, ty: &str| {
        let options = Options {
            section_types: vec![(what.into(), ty.into())],
            ..Options::default()
        };
        convert(&custom, "x", &options)
    };
    for what in ["mine", "f"] {
        let converted = typed(what, "kprobe/vfs_read").unwrap();
        assert_eq!(converted.manifest.programs[0].export, "kprobe:vfs_read:pre");
    }
    assert_eq!(
        typed("yours", "kprobe/f").unwrap_err().to_string(),
        "x: \"yours\", for which a type is given, is no section or program of it"
    );
    assert_eq!(
        typed("mine", "theirs").unwrap_err().to_string(),
        "x: type \"theirs\", given for \"mine\", is no program type's section"
    );
    let ops = Builder::new()
        .function("struct_ops/init", "f", EXIT)
        .build();
    assert!(refusal(&ops).starts_with("x.bpf.o: program f: struct_ops is not supported"));
    let cut = Builder::new().code("xdp", "f", &[0x95, 0, 0, 0]).build();
    assert_eq!(
        refusal(&cut),
        "x.bpf.o: program f: section \"xdp\": code is cut short"
    );
}

#[test]
fn maps_that_make_no_sense() {
    let definition = |words: [u32; 5]| {
        words
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let with = |words, size| {
        let maps = definition(words);
        let object = Builder::new()
            .function("xdp", "f", "lddw r1, 0\nmov r0, 0\nexit")
            .function("kprobe/x", "g", EXIT)
            .data("maps", &maps[..size]);
        let object = object.variable("maps", "m", 0, 20);
        let object = object.relocate("xdp", 0, "m", 1).build();
        convert(&object, "x", &Options::default()).expect("g converts")
    };
    for (words, size, why) in [
        ([99, 4, 4, 1, 0], 20, "map \"m\": unknown map type 99"),
        ([2, 4, 4, 1, 0], 12, "map \"m\": cut short"),
    ] {
        let converted = with(words, size);
        // The program that uses it is refused, and no other.
        let refused = format!("program f, insn 0: {why}");
        assert_eq!(converted.manifest.refused[0].why, refused);
        assert_eq!(converted.manifest.programs[0].name, "g");
        assert_eq!(converted.summary.left_out, [why]);
    }
    let untyped = Builder::new()
        .function("xdp", "f", EXIT)
        .data(".maps", &[0; 32])
        .variable(".maps", "m", 0, 32);
    // Without BTF nobody knows what `.maps` holds; a reference to it is what cannot be resolved.
    assert!(convert(&untyped.build(), "x", &Options::default()).is_ok());
}

#[test]
fn references_to_nothing() {
    let load = Builder::new().function("xdp", "f", "lddw r1, 0\nmov r0, 0\nexit");
    let symbol = |number| {
        let load = Builder::new().function("xdp", "f", "lddw r1, 0\nmov r0, 0\nexit");
        refusal(&load.relocate("xdp", 0, "nowhere", number).build())
    };
    let place = "x.bpf.o: program f, insn 0: ";
    assert_eq!(
        symbol(1),
        format!("{place}relocation against \"nowhere\", which is no map, data or function")
    );
    assert_eq!(
        symbol(10),
        format!("{place}relocation against \"nowhere\" on an instruction that takes none")
    );
    assert_eq!(symbol(77), format!("{place}unknown relocation type 77"));
    assert!(convert(&load.build(), "x", &Options::default()).is_ok());
    assert_eq!(
        refused("lddw r1, map#0\nexit"),
        "prog: program prog, insn 0: ld_imm64 with pseudo source 1 but no relocation"
    );
    let callee = Builder::new()
        .function("xdp", "f", "callf +7\nexit")
        .build();
    assert_eq!(
        refusal(&callee),
        "x.bpf.o: program f, insn 0: call to 8, which is no function"
    );
}

#[test]
fn instructions_that_do_not_exist() {
    let slot = |bytes: [u8; 8]| refused_code(&bytes);
    let at = "prog: program prog, insn 0: ";
    assert_eq!(
        slot([0xff, 0, 0, 0, 0, 0, 0, 0]),
        format!("{at}unknown opcode 0xff")
    );
    assert_eq!(
        slot([0xb7, 0, 9, 0, 0, 0, 0, 0]),
        format!("{at}mov: field off cannot be 9")
    );
    assert_eq!(
        slot([0xb7, 0x10, 0, 0, 0, 0, 0, 0]),
        format!("{at}mov: field src cannot be 1")
    );
    assert_eq!(
        slot([0xbf, 0x10, 0, 0, 5, 0, 0, 0]),
        format!("{at}mov: field imm cannot be 5")
    );
    assert_eq!(
        slot([0xb7, 0x0a, 0, 0, 0, 0, 0, 0]),
        format!("{at}bad register r10")
    );
    assert_eq!(
        slot([0xbf, 0xb0, 0, 0, 0, 0, 0, 0]),
        format!("{at}bad register r11")
    );
    assert_eq!(
        slot([0x18, 0, 0, 0, 0, 0, 0, 0]),
        format!("{at}ld_imm64 is cut short")
    );
    assert_eq!(
        slot([0x8d, 1, 0, 0, 0, 0, 0, 0]),
        format!("{at}calls through a register are not supported")
    );
    assert_eq!(
        slot([0xbf, 0x10, 1, 0, 1, 0, 0, 0]),
        format!("{at}address spaces (arena) are not supported")
    );
    assert_eq!(
        refused_code(&[0x95, 0, 0]),
        "prog: section \"syscall\": code is cut short"
    );
}

#[test]
fn control_flow_that_goes_nowhere() {
    assert_eq!(refused(""), "prog: program prog: no instructions");
    assert_eq!(
        refused("mov r0, 0"),
        "prog: program prog, insn 0: control falls off the end"
    );
    assert_eq!(
        refused("ja +7\nexit"),
        "prog: program prog, insn 0: jump to 8, which is no instruction of this function"
    );
    let middle = refused("ja +1\nlddw r0, 1\nexit");
    assert_eq!(
        middle,
        "prog: program prog, insn 0: jump to 2, which is no instruction of this function"
    );
    assert_eq!(
        refused("callf f\nexit\nf:\ncallf f\nexit"),
        "prog: program prog.1: recursive calls"
    );
    let deep: String = (0..9)
        .map(|i| format!("f{i}:\nstdw [r10-512], 0\ncallf f{}\nexit\n", i + 1))
        .collect();
    let deep = format!("{deep}f9:\nmov r0, 0\nexit");
    assert_eq!(
        refused(&deep),
        "prog: program prog: the deepest call chain uses 4608 bytes of stack, more than there are"
    );
}

fn imports(items: &[(&str, &str, EntityType)]) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut section = ImportSection::new();
    for (module, name, ty) in items {
        section.import(module, name, *ty);
    }
    let mut module = Module::new();
    module.section(&types).section(&section);
    module
}

#[test]
fn modules_outside_the_contract() {
    let global = |val_type| {
        EntityType::Global(GlobalType {
            val_type,
            mutable: false,
            shared: false,
        })
    };
    let refusal = |module: Module| check(&module.finish()).expect_err("a refusal").to_string();
    assert!(
        check(b"no")
            .unwrap_err()
            .to_string()
            .starts_with("not a valid module: ")
    );
    let import = |module, name, ty| refusal(imports(&[(module, name, ty)]));
    assert_eq!(
        import("wasi", "exit", EntityType::Function(0)),
        "unknown import wasi.exit"
    );
    assert_eq!(
        import("bpf", "no_such", EntityType::Function(0)),
        "unknown import bpf.no_such"
    );
    assert_eq!(
        import("map", "m", global(ValType::I64)),
        "global map.m: not as the contract says"
    );
    let not_first = imports(&[
        ("env", "stack_base", global(ValType::I32)),
        ("env", "stack_base", global(ValType::I32)),
    ]);
    assert_eq!(
        refusal(not_first),
        "global env.stack_base: not as the contract says"
    );
    assert!(import("env", "stack_base", global(ValType::F64)).contains("floating-point"));
    let mut own = imports(&[]);
    let mut globals = GlobalSection::new();
    let ty = GlobalType {
        val_type: ValType::I32,
        mutable: true,
        shared: false,
    };
    globals.global(ty, &wasm_encoder::ConstExpr::i32_const(0));
    own.section(&globals);
    assert_eq!(refusal(own), "global of its own: not as the contract says");
    let mut start = imports(&[("env", "trap", EntityType::Function(0))]);
    start.section(&StartSection { function_index: 0 });
    assert_eq!(refusal(start), "not a valid module: a start function");
    let no_manifest = read_manifest(&Module::new().finish())
        .unwrap_err()
        .to_string();
    assert_eq!(no_manifest, "no manifest: not a translated module");
}

/// Truncations and random damage of a real object: a module or a refusal, and what is a module passes `check`.
#[test]
fn damaged_objects_never_panic() {
    let file = std::fs::read("/usr/sbin/opensnoop").expect("package libbpf-tools");
    let objects = embedded_objects(&file).expect("an embedded object");
    let object = objects[0].bytes;
    for length in (0..object.len()).step_by(97) {
        properties::object(&object[..length]);
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    let mut converted = 0;
    for _ in 0..2000 {
        let mut damaged = object.to_vec();
        for _ in 0..=random() % 4 {
            let at = random() % damaged.len();
            damaged[at] = random() as u8;
        }
        converted += usize::from(properties::object(&damaged));
    }
    assert!(
        converted > 0,
        "no damage was harmless: the test tests nothing"
    );
}

/// Random instruction streams likewise.
#[test]
fn random_code_never_panics() {
    let mut seed = 1u64;
    let opcodes: Vec<u8> = bpf2wasm::instructions().map(|i| i.opcode).collect();
    let mut random = move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    let mut converted = 0;
    for _ in 0..20_000 {
        let mut code = Vec::new();
        for _ in 0..random() % 12 {
            let [off, imm] = [0, 1, -1, 2, 8, -8][random() % 6..]
                .first()
                .map_or([0, 0], |o| [*o as u8, *o as u8]);
            let registers = (random() % 11) as u8 | ((random() % 11) as u8) << 4;
            let high = if (off as i8) < 0 { 0xff } else { 0 };
            code.extend([
                opcodes[random() % opcodes.len()],
                registers,
                off,
                high,
                imm,
                high,
                high,
                high,
            ]);
        }
        code.extend([0x95, 0, 0, 0, 0, 0, 0, 0]);
        converted += usize::from(properties::code(&code));
    }
    assert!(converted > 100, "{converted} of 20,000 converted");
}

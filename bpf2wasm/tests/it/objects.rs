//! What a whole object's translation carries: CO-RE values, source lines, data sections, export names.

use abi::imports::{POISON, resized};
use abi::manifest::{BTF_SECTION, DATA_SECTION, DataKind};
use bpf2wasm::{Converted, Options, convert, custom_section, embedded_objects, place};

use crate::support::elf::Builder;
use crate::support::engine::Machine;

fn tool(name: &str) -> Converted {
    let file = std::fs::read(format!("/usr/sbin/{name}")).expect("package libbpf-tools");
    let objects = embedded_objects(&file).expect("an embedded object");
    convert(objects[0].bytes, name, &Options::default()).expect("it converts")
}

/// `runqlen` follows a pointer chain whose offsets are relocations.
#[test]
fn poison_traps_where_it_is_reached_and_only_there() {
    let runqlen = tool("runqlen");
    let poisoned = Machine::new(&runqlen, &[]).run(&[0; 256]);
    assert_eq!(
        poisoned.result,
        Err("CO-RE relocation has no match in this kernel's BTF".into())
    );
    let resolved = Machine::new(&runqlen, &[("field_byte_off", 16)]).run(&[0; 256]);
    assert_eq!(resolved.result, Ok(0));
}

#[test]
fn sites_lead_to_source_lines() {
    let vfsstat = tool("vfsstat");
    let function = &vfsstat.manifest.functions[1];
    let found = place(&vfsstat.wasm, function.site + 3).expect("a site");
    assert_eq!(
        (found.function.as_str(), found.insn),
        (function.name.as_str(), 3)
    );
    let (file, line, _) = found.source.expect("a source line");
    assert!(file.ends_with("vfsstat.bpf.c") && line > 0, "{file}:{line}");
    assert_eq!(place(&vfsstat.wasm, 1 << 20), None);
}

#[test]
fn data_sections_carry_their_symbols_and_bytes() {
    let opensnoop = tool("opensnoop");
    let rodata = opensnoop
        .manifest
        .maps
        .iter()
        .find(|m| m.name == ".rodata")
        .expect(".rodata");
    let data = rodata.data.as_ref().expect("a data section");
    assert_eq!(data.kind, DataKind::Rodata);
    assert!(
        data.symbols
            .iter()
            .any(|s| s.name == "targ_pid" && s.size == 4 && s.type_id != 0)
    );
    let bytes = custom_section(&opensnoop.wasm, DATA_SECTION).expect("initial bytes");
    assert!(bytes.len() >= data.init.expect("bytes") as usize + rodata.value_size as usize);
    assert!(
        bpf2wasm::btf::Btf::parse(custom_section(&opensnoop.wasm, BTF_SECTION).expect("BTF"))
            .is_ok()
    );
    let kconfig = tool("capable")
        .manifest
        .maps
        .into_iter()
        .find(|m| m.name == ".kconfig");
    let kconfig = kconfig.and_then(|m| m.data).expect(".kconfig");
    assert_eq!(kconfig.symbols[0].name, "LINUX_KERNEL_VERSION");
}

/// Two programs of one section and target: the second export names its function.
#[test]
fn export_names_are_unique() {
    let exit = "mov r0, 0\nexit";
    let object = Builder::new()
        .function("kprobe/f", "a", exit)
        .function("?kprobe/f", "b", exit);
    let object = object
        .function("tp/x/y", "c", exit)
        .function("perf_event", "d", exit)
        .build();
    let manifest = convert(&object, "x", &Options::default())
        .expect("it converts")
        .manifest;
    let exports: Vec<_> = manifest
        .programs
        .iter()
        .map(|p| (p.export.as_str(), p.autoload))
        .collect();
    let wanted = [
        ("kprobe:f:pre", true),
        ("kprobe:f:pre#b", false),
        ("tracepoint:x:y:hit", true),
        ("perf_event::hit", true),
    ];
    assert_eq!(exports, wanted);
}

/// A function in `.text`, called through the section symbol or a relocation against the function itself.
#[test]
fn calls_into_another_section() {
    let mut object = Builder::new()
        .function(".text", "seven", "mov r0, 7\nexit")
        .function("syscall", "main", "callf -1\nadd r0, 1\nexit")
        .relocate("syscall", 0, "seven", 10)
        .build();
    let result = |object: &[u8]| {
        let converted = convert(object, "x", &Options::default()).expect("it converts");
        Machine::new(&converted, &[]).run(&[]).result
    };
    assert_eq!(result(&object), Ok(8));
    // As old compilers wrote it: for no machine.
    object[18..20].fill(0);
    assert_eq!(
        bpf2wasm::embedded_objects(&object).unwrap()[0].bytes,
        object
    );
    assert_eq!(result(&object), Ok(8));
}

/// `.bss` through a relocation whose addend is in the instruction.
#[test]
fn data_is_found_at_symbol_plus_addend() {
    let object = Builder::new()
        .data(".data", &[0, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0])
        .variable(".data", "pair", 4, 8)
        .function(
            "syscall",
            "main",
            "lddw r1, 4\nldxw r0, [r1]\nadd r0, 1\nstxw [r1], r0\nexit",
        )
        .relocate("syscall", 0, "pair", 1)
        .build();
    let converted = convert(&object, "x", &Options::default()).expect("it converts");
    let outcome = Machine::new(&converted, &[]).run(&[]);
    // The test's runtime leaves initial bytes to the loader: memory starts at zero.
    assert_eq!(outcome.result, Ok(1));
    assert_eq!(outcome.maps[0][8], 1);
}

/// `tests/objects/NAME.bpf.c`, compiled.
pub(crate) fn compiled(name: &str) -> Vec<u8> {
    let source = format!("{}/tests/objects/{name}.bpf.c", env!("CARGO_MANIFEST_DIR"));
    let out = std::env::temp_dir().join(format!("{name}-{}.o", std::process::id()));
    let include = "-I/usr/include/x86_64-linux-gnu";
    let status = std::process::Command::new("clang-19")
        .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", include, "-c"])
        .args([&source, "-o"])
        .arg(&out)
        .status()
        .expect("package clang-19");
    assert!(status.success(), "clang (and libbpf-dev's headers)");
    let object = std::fs::read(&out).expect("the object");
    std::fs::remove_file(&out).expect("ours");
    object
}

/// A field of another width than the access was compiled for.
#[test]
fn accesses_take_the_width_that_the_target_has() {
    let mut converted =
        convert(&compiled("fields"), "fields", &Options::default()).expect("it converts");
    let context: Vec<u8> = (1..=16).collect();
    let poison = "CO-RE relocation has no match in this kernel's BTF";
    for _ in 0..2 {
        let run = |read: u64, written: u64| {
            let values = [(":0:0#", read as i64), (":0:1#", written as i64)];
            Machine::new(&converted, &values).run(&context)
        };
        for (read, wanted) in [
            (4, Ok(0x0807_0605)),
            (resized(0, 8), Ok(0x0403_0201 ^ 0x0807_0605)),
            (resized(4, 2), Ok(0x0605)),
            (resized(4, 1), Ok(0x05)),
            (POISON as u64, Err(poison.to_owned())),
        ] {
            assert_eq!(run(read, 8).result, wanted, "{read:#x}");
        }
        for (written, bytes) in [
            (8, 8),
            (resized(8, 4), 4),
            (resized(8, 2), 2),
            (resized(8, 1), 1),
        ] {
            let mut wanted = context.clone();
            wanted[8..8 + bytes].copy_from_slice(&0x1122_3344_5566_7788u64.to_le_bytes()[..bytes]);
            assert_eq!(run(0, written).context, wanted, "{written:#x}");
        }
        assert_eq!(run(0, POISON as u64).result, Err(poison.to_owned()));
        // The other program.
        converted.manifest.programs.reverse();
    }
}

/// Maps of maps, program arrays, kconfig, kernel symbols and functions, callbacks: from C by clang.
#[test]
fn everything_the_front_end_knows() {
    let object = compiled("everything");
    let Converted {
        manifest, summary, ..
    } = convert(&object, "everything", &Options::default()).expect("it converts");
    let map = |name: &str| manifest.maps.iter().find(|m| m.name == name).expect(name);
    let values = |name: &str| {
        map(name)
            .values
            .iter()
            .map(|v| (v.index, v.name.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        values("outer"),
        [(0, "first".to_owned()), (1, "second".to_owned())]
    );
    assert_eq!(values("programs"), [(1, "tail".to_owned())]);
    let template = map("outer").inner.expect("a template") as usize;
    assert_eq!(manifest.maps[template].name, "outer.inner");
    assert!(
        !summary.imports.contains(&"map.outer.inner".to_owned()),
        "a template has no import"
    );
    let externs: Vec<_> = manifest
        .externs
        .iter()
        .map(|e| (e.name.as_str(), e.weak))
        .collect();
    let wanted = [
        ("LINUX_KERNEL_VERSION", false),
        ("CONFIG_BPF", true),
        ("bpf_task_release", true),
    ];
    assert!(wanted.iter().all(|w| externs.contains(w)), "{externs:?}");
    for import in [
        "map..kconfig",
        "ksym.bpf_prog_active",
        "ksym.bpf_task_release",
        "kfunc.bpf_task_from_pid",
        "bpf.loop",
    ] {
        assert!(
            summary.imports.iter().any(|i| i == import),
            "no {import}: {:?}",
            summary.imports
        );
    }
    assert!(
        summary
            .imports
            .iter()
            .any(|i| i.starts_with("core.field_byte_off:task_struct:0:0"))
    );
}

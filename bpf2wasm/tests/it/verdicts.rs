//! One program's fault is that program's: each has its own verdict, and what will trap is said.

use bpf2wasm::{
    Converted, Lacking, Options, ProgramCheck, check_programs, convert, lacking, place,
};

use crate::support::elf::Builder;
use crate::support::engine::Machine;

const EXIT: &str = "mov r0, 7\nexit";
const NOT_PROVIDED: &str = "helper not provided by this runtime";

fn converted(object: &[u8]) -> Converted {
    convert(object, "x", &Options::default()).expect("some of it converts")
}

fn verdicts(object: &[u8]) -> Vec<ProgramCheck> {
    check_programs(object, "x", &Options::default()).expect("an object")
}

/// Programs beside a good one, each with a fault of another kind; each is refused by name, for its own reason.
#[test]
fn a_faulty_program_costs_no_other() {
    let kinds: &[(&str, &str, &str)] = &[
        (
            "odd",
            "odd",
            "section \"odd\" is of no supported program type",
        ),
        (
            "?odd/x",
            "manual",
            "section \"?odd/x\" is of no supported program type",
        ),
        ("struct_ops/f", "ops", "struct_ops is not supported"),
        ("kprobe/a", "recursive", "recursive calls"),
        ("kprobe/b", "endless", "control falls off the end"),
        (
            "kprobe/c",
            "dangling",
            "relocation against \"nowhere\", which is no map",
        ),
        (
            "kprobe/d",
            "arena",
            "address spaces (arena) are not supported",
        ),
        ("kprobe/e", "cut", "code is cut short"),
    ];
    let mut builder = Builder::new();
    for (section, name, _) in kinds {
        builder = match *name {
            "recursive" => builder.function(section, name, "callf -1\nexit"),
            "endless" => builder.function(section, name, "mov r0, 0"),
            "dangling" => builder
                .function(section, name, "lddw r1, 0\nmov r0, 0\nexit")
                .relocate(section, 0, "nowhere", 1),
            "arena" => builder.code(section, name, &[0xbf, 0x10, 1, 0, 1, 0, 0, 0]),
            "cut" => builder.code(section, name, &[0x95, 0, 0, 0]),
            _ => builder.function(section, name, EXIT),
        };
    }
    let object = builder.function("syscall", "good", EXIT).build();
    let converted = converted(&object);
    assert_eq!(Machine::new(&converted, &[]).run(&[]).result, Ok(7));
    let programs = &converted.manifest.programs;
    assert_eq!(programs.len(), 1);
    let refused = &converted.manifest.refused;
    assert_eq!(refused.len(), kinds.len());
    for ((section, name, why), refused) in kinds.iter().zip(refused) {
        assert_eq!(
            (refused.section.as_str(), refused.name.as_str()),
            (*section, *name)
        );
        assert!(
            refused.why.starts_with(&format!("program {name}")),
            "{}",
            refused.why
        );
        assert!(refused.why.contains(why), "{}", refused.why);
    }
    let verdicts = verdicts(&object);
    let names: Vec<_> = verdicts.iter().map(|v| v.program.as_str()).collect();
    let wanted: Vec<_> = kinds.iter().map(|k| k.1).chain(["good"]).collect();
    assert_eq!(names, wanted);
    for verdict in &verdicts {
        assert_eq!(
            verdict.result.is_ok(),
            verdict.program == "good",
            "{}",
            verdict.program
        );
    }
}

/// A subprogram's fault is that of the programs that reach it.
#[test]
fn a_faulty_subprogram_costs_those_that_call_it() {
    let object = Builder::new()
        .function(".text", "sub", "callx r1\nexit")
        .function("kprobe/x", "caller", "callf -1\nexit")
        .relocate("kprobe/x", 0, "sub", 10)
        .function("syscall", "good", EXIT)
        .build();
    let converted = converted(&object);
    assert_eq!(converted.manifest.programs[0].name, "good");
    let refused = &converted.manifest.refused[0];
    assert_eq!(refused.name, "caller");
    let why = "program sub, insn 0: calls through a register are not supported";
    assert_eq!(refused.why, why);
}

#[test]
fn programs_are_picked_and_left_out_by_name() {
    let object = Builder::new()
        .function("kprobe/a", "a", EXIT)
        .function("kprobe/b", "b", EXIT)
        .function("odd", "c", EXIT)
        .build();
    let with = |programs: &[&str], skip: &[&str]| Options {
        programs: programs.iter().map(|p| (*p).to_owned()).collect(),
        skip: skip.iter().map(|p| (*p).to_owned()).collect(),
        ..Options::default()
    };
    let names = |options: &Options| {
        let manifest = convert(&object, "x", options)
            .expect("it converts")
            .manifest;
        let names = manifest.programs.into_iter().map(|p| p.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&with(&[], &[])), ["a", "b"]);
    assert_eq!(names(&with(&["b"], &[])), ["b"]);
    assert_eq!(names(&with(&[], &["b", "c"])), ["a"]);
    let checked = check_programs(&object, "x", &with(&["a", "b"], &["a"])).expect("an object");
    assert_eq!(checked.len(), 1);
    assert!(checked[0].program == "b" && checked[0].result.is_ok());
    for options in [with(&["d"], &[]), with(&[], &["d"])] {
        let error = convert(&object, "x", &options).unwrap_err().to_string();
        assert_eq!(error, "x: no program d, only a, b, c");
    }
    let error = convert(&object, "x", &with(&["c"], &[])).unwrap_err();
    assert!(error.to_string().contains("section \"odd\""), "{error}");
}

/// An object without programs: its maps are what there is to load.
#[test]
fn maps_alone_are_a_module() {
    let definition: Vec<u8> = [2u32, 4, 8, 3, 0]
        .iter()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    let object = Builder::new().data("maps", &definition);
    let object = object.variable("maps", "m", 0, 20).build();
    let converted = converted(&object);
    assert!(converted.manifest.programs.is_empty());
    assert_eq!(converted.manifest.maps[0].name, "m");
    bpf2wasm::check(&converted.wasm).expect("a module within the contract");
}

fn lacks(converted: &Converted) -> Vec<Lacking> {
    lacking(&converted.wasm, &converted.manifest.programs[0])
}

/// What is said to trap does, at the place that is said; a runtime that has the helper after all runs it.
#[test]
fn calls_of_what_runtimes_lack_are_named_and_trap() {
    let object = |code: &str| {
        let builder = Builder::new().function("syscall", "f", code);
        converted(&builder.build())
    };
    // `kallsyms_lookup_name`, which modules cannot call.
    let lacking = object("ldxb r6, [r1]\njeq r6, 0, out\ncall 179\nmov r0, 5\nout:\nexit");
    let said = lacks(&lacking);
    assert_eq!(said.len(), 1);
    assert_eq!(
        (said[0].callee.as_str(), said[0].insn),
        ("bpf_kallsyms_lookup_name", 2)
    );
    assert!(!said[0].guarded);
    assert_eq!(said[0].to_string(), "bpf_kallsyms_lookup_name (f, insn 2)");
    let run =
        |values: &[(&str, i64)], context: u8| Machine::new(&lacking, values).run(&[context]).result;
    assert_eq!(run(&[], 1), Err(NOT_PROVIDED.to_owned()));
    assert_eq!(run(&[("bpf.kallsyms_lookup_name", 1)], 1), Ok(5));
    let unknown = object("call 9999\nexit");
    assert_eq!(lacks(&unknown)[0].callee, "helper 9999");
    assert_eq!(
        Machine::new(&unknown, &[]).run(&[]).result,
        Err(NOT_PROVIDED.to_owned())
    );
    // The other direction: what is not named does not trap so.
    let provided = object("call 5\nmov r0, 7\nexit");
    assert_eq!(lacks(&provided), []);
    assert_eq!(Machine::new(&provided, &[]).run(&[]).result, Ok(7));
    let site = lacking.manifest.programs[0].lacks[0].site;
    assert_eq!(place(&lacking.wasm, site).expect("a place").insn, 2);
}

/// Questions of what there is, from C by clang: what is behind one is told apart, also where a subprogram is.
#[test]
fn what_a_question_guards_is_told_apart() {
    let object = super::objects::compiled("guards");
    let converted = converted(&object);
    let said = |name: &str| {
        let mut programs = converted.manifest.programs.iter();
        let program = programs.rfind(|p| p.name == name);
        let lacks = lacking(&converted.wasm, program.expect(name));
        let lacks = lacks.into_iter().map(|l| (l.callee, l.guarded));
        lacks.collect::<Vec<_>>()
    };
    let name = "bpf_kallsyms_lookup_name".to_owned();
    assert_eq!(said("asks"), [(name.clone(), true)]);
    assert_eq!(said("asks_not"), [(name.clone(), false)]);
    assert_eq!(said("asks_for_another"), [(name.clone(), false)]);
    assert_eq!(said("asks_before_a_function"), [(name.clone(), true)]);
    assert_eq!(
        said("asks_the_symbol"),
        [("bpf_no_such_kfunc".to_owned(), true)]
    );
    let lines = lacking(&converted.wasm, &converted.manifest.programs[0]);
    let source = lines[0].source.as_deref().expect("a line");
    assert!(source.starts_with("guards.bpf.c:"), "{source}");
}

/// Maps of types that runtimes lack are told of the programs that use them.
#[test]
fn programs_with_maps_that_runtimes_lack_are_told() {
    let definition = |ty: u32| [ty, 4, 8, 3, 0].into_iter().flat_map(u32::to_le_bytes);
    let (inode_storage, array) = (28, 2);
    let maps: Vec<u8> = definition(inode_storage).chain(definition(array)).collect();
    let mut builder = Builder::new().data("maps", &maps);
    builder = builder
        .variable("maps", "st", 0, 20)
        .variable("maps", "ar", 20, 20);
    for (section, name, map) in [("kprobe/a", "a", "st"), ("kprobe/b", "b", "ar")] {
        let code = "lddw r1, 0\nmov r0, 0\nexit";
        builder = builder
            .function(section, name, code)
            .relocate(section, 0, map, 1);
    }
    let object = builder.build();
    let maps: Vec<_> = verdicts(&object).into_iter().map(|v| v.maps).collect();
    assert_eq!(maps, [vec!["st (inode_storage)".to_owned()], vec![]]);
    let programs = converted(&object).manifest.programs;
    assert_eq!(
        (&programs[0].maps[..], &programs[1].maps[..]),
        (&[0][..], &[1][..])
    );
}

/// Addresses that are known leave no section; computed ones are the engine's matter.
#[test]
fn known_addresses_stay_in_their_sections() {
    let verdict = |code: &str| {
        let object = Builder::new()
            .data(".data", &[0; 16])
            .variable(".data", "v", 0, 16)
            .function("syscall", "f", code)
            .relocate("syscall", 0, "v", 1)
            .build();
        convert(&object, "x", &Options::default()).map_err(|e| e.to_string())
    };
    let tail = "mov r0, 0\nexit";
    for inside in [
        "lddw r1, 15\nldxb r2, [r1]",
        "lddw r1, 0\nstdw [r1+8], 1",
        "lddw r1, 12\nadd r1, -4\nstxdw [r1-8], r1",
        "lddw r1, 0\nmov r2, 12\nadd r1, r2\nldxw r3, [r1]",
        "lddw r1, 0\nmov r2, 16\ncall 16",
        "lddw r3, 0\nmov r1, r10\nadd r1, -16\nmov r2, 16\ncall 16",
        "lddw r3, 0\nstdw [r10-512], 1\nstxb [r10-1], r3",
        // Of two addresses it is not known which.
        "lddw r1, 0\nldxb r2, [r1]\njeq r2, 0, far\nadd r1, 100\nfar:\nldxb r3, [r1]",
    ] {
        verdict(&format!("{inside}\n{tail}")).expect(inside);
    }
    for (outside, insn, why) in [
        ("lddw r1, 16", 0, "address 16 of .data, which has 16 bytes"),
        ("lddw r1, -8", 0, "address -8 of .data, which has 16 bytes"),
        (
            "lddw r1, 0\nstdw [r1+9], 1",
            2,
            "access of 8 bytes at 9 of .data, which has 16",
        ),
        (
            "lddw r1, 8\nldxw r2, [r1-12]",
            2,
            "access of 4 bytes at -4 of .data, which has 16",
        ),
        (
            "lddw r1, 0\nmov r2, r1\nadd r2, 16\nldxb r3, [r2]",
            4,
            "access of 1 bytes at 16 of .data, which has 16",
        ),
        (
            "lddw r1, 0\nmov r2, 64\nadd r1, r2\nldxb r3, [r1]",
            4,
            "access of 1 bytes at 64 of .data, which has 16",
        ),
        (
            "lddw r1, 0\nmov r2, 1\natomic_add64 [r1+16], r2",
            3,
            "access of 8 bytes at 16 of .data, which has 16",
        ),
        // get_current_comm writes as many bytes as r2 says.
        (
            "lddw r1, 4\nmov r2, 16\ncall 16",
            3,
            "access of 16 bytes at 4 of .data, which has 16",
        ),
        (
            "lddw r1, 0\nstdw [r10+0], 1",
            2,
            "access of 8 bytes at 0 of the frame, which is the 512 bytes below 0",
        ),
        (
            "lddw r1, 0\nmov r2, r10\nadd r2, -520\nldxw r3, [r2]",
            4,
            "access of 4 bytes at -520 of the frame, which is the 512 bytes below 0",
        ),
        (
            "lddw r3, 0\nmov r1, r10\nadd r1, -8\nmov r2, 16\ncall 16",
            5,
            "access of 16 bytes at -8 of the frame, which is the 512 bytes below 0",
        ),
    ] {
        let refusal = verdict(&format!("{outside}\n{tail}")).expect_err(outside);
        assert_eq!(refusal, format!("x: program f, insn {insn}: {why}"));
    }
}

/// What maps' helpers are given is as long as their keys and values.
#[test]
fn keys_and_values_stay_in_their_sections() {
    let object = super::objects::compiled("outside");
    let verdicts = verdicts(&object);
    assert_eq!(verdicts.len(), 6);
    for verdict in verdicts {
        let refusal = verdict.result.err().map(|error| error.to_string());
        match verdict.program.strip_suffix("_outside") {
            None => assert_eq!(refusal, None, "{}", verdict.program),
            Some(what) => {
                let refusal = refusal.expect(what);
                assert!(refusal.contains("of .bss, which has "), "{what}: {refusal}");
            }
        }
    }
}

/// GPL-only helpers and kernel functions, under each licence.
#[test]
fn what_is_for_the_gpl_is_refused_to_others() {
    // get_current_task, and get_current_pid_tgid, which is for all.
    let verdict = |licence: &str, helper: u32| {
        let code = bpf2wasm::assemble(&format!("call {helper}\nmov r0, 0\nexit"));
        let raw = bpf2wasm::Raw {
            code: &code.expect("correct assembly"),
            section: "kprobe/x",
            maps: &[],
            license: licence,
        };
        bpf2wasm::convert_raw(&raw, "f", &Options::default()).map_err(|e| e.to_string())
    };
    for licence in ["GPL", "GPL v2", "Dual BSD/GPL", "Dual MIT/GPL"] {
        let converted = verdict(licence, 35).expect(licence);
        let section = bpf2wasm::custom_section(&converted.wasm, "bpf2wasm.license");
        assert_eq!(section, Some(licence.as_bytes()));
    }
    for licence in ["Proprietary", "", "gpl", "BSD", "MIT/GPL"] {
        let refusal = verdict(licence, 35).expect_err(licence);
        let why = "bpf_get_current_task is for programs under a GPL-compatible licence";
        let wanted = format!("f: program f, insn 0: {why}, and this one's is {licence:?}");
        assert_eq!(refusal, wanted);
        assert!(verdict(licence, 14).is_ok());
    }
}

//! Every row of the instruction table against the kernel: edge operands in both widths, registers and immediates.

use crate::support::engine::Machine;
use crate::support::kernel;
use bpf2wasm::{Options, Raw, assemble, convert_raw, instructions};

/// Values at which something changes.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    7,
    31,
    32,
    33,
    63,
    64,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_8000_0000,
    u64::MAX,
    0x0123_4567_89ab_cdef,
    0xfedc_ba98_7654_3210,
];

/// Immediates: those edges that fit.
const IMMEDIATES: &[i64] = &[
    0,
    1,
    -1,
    2,
    7,
    31,
    127,
    -128,
    0x7fff_ffff,
    -0x8000_0000,
    0x1234_5678,
];

/// Programs that use `mnemonic` on a = r2 = `[r1]` and b = r3 = `[r1+8]` and leave results at `[r1+16]` and `[r1+24]`.
fn programs(mnemonic: &str, opcode: u8) -> Vec<String> {
    let shifts = matches!(opcode & 0xf7, 0x64 | 0x67 | 0x74 | 0x77 | 0xc4 | 0xc7);
    let alu = matches!(opcode & 7, 4 | 7);
    let width = if opcode & 7 == 7 { 63 } else { 31 };
    // The verifier takes no immediate shift by the width or more, and no immediate division by zero.
    let immediates = IMMEDIATES
        .iter()
        .filter(|i| !(alu && shifts) || (0..=width).contains(*i));
    let immediates =
        immediates.filter(|i| !(alu && matches!(opcode & 0xf0, 0x30 | 0x90)) || **i != 0);
    let mut operations: Vec<String> = vec![
        format!("{mnemonic} r2, r3"),
        format!("{mnemonic} r2"),
        format!("{mnemonic} r2, r3, yes\nmov r2, 0\nja no\nyes:\nmov r2, 1\nno:"),
        format!("{mnemonic} yes\nno:\nmov r2, 7\nja done\nyes:\njeq r3, 0, no\ndone:"),
        format!("stxdw [r10-8], r2\n{mnemonic} r2, [r10-8]"),
        format!("stxdw [r10-8], r2\n{mnemonic} [r10-8], r3\nldxdw r2, [r10-8]"),
        format!(
            "stxdw [r10-8], r2\nmov r0, r3\n{mnemonic} [r10-8], r3\nldxdw r2, [r10-8]\nmov r3, r0"
        ),
        format!(
            "stxdw [r10-8], r2\nmov r0, r2\n{mnemonic} [r10-8], r3\nldxdw r2, [r10-8]\nmov r3, r0"
        ),
    ];
    for imm in immediates {
        operations.push(format!("{mnemonic} r2, {imm}"));
        operations.push(format!(
            "{mnemonic} r2, {imm}, yes\nmov r2, 0\nja no\nyes:\nmov r2, 1\nno:"
        ));
        operations.push(format!(
            "stxdw [r10-8], r2\n{mnemonic} [r10-8], {imm}\nldxdw r2, [r10-8]"
        ));
    }
    let whole = |operation: String| {
        format!(
            "ldxdw r2, [r1]\nldxdw r3, [r1+8]\nmov r0, 0\n{operation}\nstxdw [r1+16], r2\nstxdw [r1+24], r3\nmov r0, 0\nexit"
        )
    };
    let uses = |text: &String| {
        assemble(text).is_ok_and(|code| code.chunks(8).any(|slot| slot[0] == opcode))
    };
    operations.into_iter().map(whole).filter(uses).collect()
}

/// Rows that this program type cannot use; `packet.rs` and the filetests have them.
fn elsewhere(mnemonic: &str) -> bool {
    let others = ["call", "callf", "kfunc", "callx", "exit", "cast"];
    others.contains(&mnemonic) || mnemonic.starts_with("ldabs") || mnemonic.starts_with("ldind")
}

#[test]
fn every_instruction_does_what_the_kernel_does() {
    if !kernel::available() {
        eprintln!("skipped: this machine does not allow bpf(2)");
        return;
    }
    let (mut programs_run, mut runs) = (0, 0);
    for instruction in instructions().filter(|i| !elsewhere(&i.mnemonic)) {
        let texts = programs(&instruction.mnemonic, instruction.opcode);
        assert!(
            !texts.is_empty(),
            "no test program uses {}",
            instruction.mnemonic
        );
        let mut accepted = 0;
        for text in texts {
            let code = assemble(&text).expect("checked above");
            let native = match kernel::Program::load(&code, &[]) {
                Ok(native) => native,
                Err(reason) if instruction.mnemonic == "may_goto" => panic!("{reason}"),
                Err(_) => continue,
            };
            accepted += 1;
            let raw = Raw {
                code: &code,
                section: "syscall",
                maps: &[],
                license: "GPL",
            };
            let converted = convert_raw(&raw, "test", &Options::default()).expect(&text);
            let mut translated = Machine::new(&converted, &[]);
            for a in EDGES {
                for b in EDGES {
                    let mut context = [a.to_le_bytes(), b.to_le_bytes()].concat();
                    context.resize(32, 0);
                    let (expected, seen) = (native.run(&context), translated.run(&context));
                    assert_eq!(expected, seen, "a = {a:#x}, b = {b:#x}:\n{text}");
                    runs += 1;
                }
            }
        }
        assert!(
            accepted > 0,
            "the kernel accepts no test program of {}",
            instruction.mnemonic
        );
        programs_run += accepted;
    }
    println!("{programs_run} programs, {runs} runs compared");
}

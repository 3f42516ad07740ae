//! A plugin of the public bpf_conformance runner: runs one bare program and prints `r0`.
//!
//! Calling convention: the program's bytes as spaced hex on stdin, memory as spaced hex in the first
//! argument (absent if there is none); `r1` is the memory, `r2` its length. Prints `r0` in hex and exits
//! with 0; on a failure a message on stderr, and 1. `--engine jit` picks the compiler.
//!
//! The suite's helper 5 returns its argument, where the kernel's has none. So calls of it become
//! `mov r0, r1`. A call through a register (`callx`, which the kernel has not) is resolved where an
//! earlier instruction set that register to a constant.

use std::io::Read;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use loader::user::{EngineKind, UserSandbox};

/// Runs one bare eBPF program, as a plugin of the bpf_conformance runner.
#[derive(Parser)]
#[command(after_help = "Example:
  echo 'b7 00 00 00 2a 00 00 00 95 00 00 00 00 00 00 00' | bpf2wasm-conformance   # prints 2a")]
struct Args {
    /// Memory as spaced hex
    memory: Option<String>,
    /// The wasm engine
    #[arg(long, value_enum, default_value = "wasmi")]
    engine: EngineKind,
    /// Execution budget
    #[arg(long, default_value_t = 1 << 30)]
    fuel: u64,
    /// Passed by some runners, and without meaning here
    #[arg(long, hide = true)]
    elf: bool,
}

mod opcode {
    pub(super) const CALL: u8 = 0x85;
    pub(super) const CALLX: u8 = 0x8d;
    pub(super) const MOV64_IMM: u8 = 0xb7;
    pub(super) const MOV64_REG: u8 = 0xbf;
}

/// Bytes of an instruction.
const SLOT: usize = 8;
/// The suite's helper that returns its argument.
const IDENTITY: i32 = 5;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(r0) => {
            println!("{r0:x}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<u64> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("stdin")?;
    let memory = hex(args.memory.as_deref().unwrap_or_default()).context("memory")?;
    if memory.len() > abi::layout::CONTEXT_SIZE as usize {
        bail!(
            "the memory has {} bytes, more than {}",
            memory.len(),
            abi::layout::CONTEXT_SIZE
        );
    }
    // `r2` is set by an instruction before the program's own.
    let mut code = instruction(opcode::MOV64_IMM, 2, memory.len() as i32).to_vec();
    code.extend(with_known_helpers(&hex(&text).context("program")?));
    let raw = bpf2wasm::Raw {
        code: &code,
        section: "raw_tp",
        maps: &[],
        license: "GPL",
    };
    let converted = bpf2wasm::convert_raw(&raw, "program", &bpf2wasm::Options::default())?;
    let (mut sandbox, _) = UserSandbox::new(args.engine, args.fuel, &[])?;
    sandbox.load(&converted.wasm, &[])?;
    let export = &converted.manifest.programs[0].export;
    Ok(sandbox.run(export, &memory)?)
}

/// Spaced hex as bytes; the spaces may be missing.
fn hex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| {
        let pair: String = pair.iter().collect();
        u8::from_str_radix(&pair, 16).with_context(|| format!("{pair:?} is no byte in hex"))
    };
    if !digits.len().is_multiple_of(2) {
        bail!("an odd number of hex digits");
    }
    digits.chunks(2).map(byte).collect()
}

fn instruction(opcode: u8, registers: u8, imm: i32) -> [u8; SLOT] {
    let [a, b, c, d] = imm.to_le_bytes();
    [opcode, registers, 0, 0, a, b, c, d]
}

fn imm(slot: &[u8]) -> i32 {
    i32::from_le_bytes(*slot[4..].first_chunk().expect("an instruction has 8 bytes"))
}

/// The program with calls of the suite's helper replaced.
fn with_known_helpers(code: &[u8]) -> Vec<u8> {
    let mut known = [None; 16];
    let mut result = Vec::with_capacity(code.len());
    for slot in code.chunks(SLOT) {
        let whole = slot.len() == SLOT;
        let callee = match slot {
            // The upper half of the byte says what kind of call it is: 0 is a helper.
            [opcode::CALL, 0x00..0x10, ..] if whole => Some(imm(slot)),
            // Assemblers put the register in the destination, or (old clang) in the immediate.
            [opcode::CALLX, 0, ..] if whole => known[(imm(slot) & 0xf) as usize],
            [opcode::CALLX, registers, ..] if whole => known[(registers & 0xf) as usize],
            _ => None,
        };
        if let (true, [opcode::MOV64_IMM, registers, ..]) = (whole, slot) {
            known[(registers & 0xf) as usize] = Some(imm(slot));
        }
        match callee {
            Some(IDENTITY) => result.extend(instruction(opcode::MOV64_REG, 0x10, 0)),
            _ => result.extend(slot),
        }
    }
    result
}

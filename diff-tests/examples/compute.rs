//! What computing costs, in this process: programs of `corpus/src/compute*.bpf.c` under the kernel's JIT (by `BPF_PROG_TEST_RUN`),
//! rbpf and each wasm engine, as JSON. All of them must compute the same, or nothing is printed.
//!
//! `cargo xtask bench --compute` runs it and shows the result. The kinds take turns, so that whatever else the machine does meets all
//! of them alike.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bpf2wasm::{Options, convert};
use diff_tests::corpus;
use diff_tests::random::Random;
use libbpf_rs::{Object, ObjectBuilder, ProgramInput};
use loader::open::Input;
use loader::user::context::{TestInput, prepare};
use loader::user::{self, EngineKind, UserSandbox};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use serde_json::{Value, json};

const OBJECTS: [&str; 2] = ["compute", "compute_kinds"];
const SECTION: &str = "tc";
/// Bytes of the packet.
const PACKET: usize = 1514;
/// A sample takes about so long.
const SAMPLE: u128 = 2_000_000;
/// Programs of the first that use no maps, which rbpf has none of.
const WITHOUT_MAPS: &[&str] = &[
    "nothing",
    "arithmetic",
    "hash_bytes",
    "hash_words",
    "checksum",
    "parse",
];

/// A program somewhere.
trait Runner {
    fn name(&self) -> &'static str;
    /// Runs it so often; what it returned at last, and nanoseconds a run.
    fn run(&mut self, times: u32) -> Result<(u32, f64)>;
}

/// In the kernel, which does the timing itself.
struct Kernel {
    object: Object,
    program: String,
    packet: Vec<u8>,
}

impl Runner for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }
    fn run(&mut self, times: u32) -> Result<(u32, f64)> {
        let mut programs = self.object.progs_mut();
        let program = programs.find(|p| p.name() == self.program.as_str());
        let output = program.context("a program")?.test_run(ProgramInput {
            data_in: Some(&self.packet),
            repeat: times,
            ..ProgramInput::default()
        })?;
        Ok((output.return_value, output.duration.as_nanos() as f64))
    }
}

/// Translated, in this process.
struct Wasm {
    kind: EngineKind,
    sandbox: UserSandbox,
    export: String,
    context: Vec<u8>,
}

impl Wasm {
    fn load(input: &Input, program: &str, kind: EngineKind, packet: &[u8]) -> Result<Self> {
        let manifest = input.manifest.as_ref().context("a manifest")?;
        let program = manifest.programs.iter().find(|p| p.name == program);
        let export = program.context("the program")?.export.clone();
        let sandbox = user::load(input, kind, 1 << 40, None)?;
        let input = TestInput {
            data: packet.to_vec(),
            context: Vec::new(),
        };
        let context = prepare(&sandbox, SECTION, &input)?.context;
        Ok(Self {
            kind,
            sandbox,
            export,
            context,
        })
    }
}

impl Runner for Wasm {
    fn name(&self) -> &'static str {
        match self.kind {
            EngineKind::Wasmi => "wasmi",
            EngineKind::Wasmtime => "wasmtime",
            EngineKind::Jit => "jit",
        }
    }
    fn run(&mut self, times: u32) -> Result<(u32, f64)> {
        timed(times, || {
            Ok(self.sandbox.run(&self.export, &self.context)?)
        })
    }
}

fn timed(times: u32, mut run: impl FnMut() -> Result<u64>) -> Result<(u32, f64)> {
    let start = Instant::now();
    let mut result = 0;
    for _ in 0..times {
        result = black_box(run()?);
    }
    let took = start.elapsed().as_nanos() as f64 / f64::from(times);
    Ok((result as u32, took))
}

/// Memory whose addresses have 32 bits, as a packet's in a context.
struct Low(&'static mut [u8]);

impl Low {
    fn new(bytes: &[u8]) -> Result<Self> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
        );
        // SAFETY: a new mapping; it touches nothing that is there.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes.len(), protection, flags, -1, 0) };
        ensure!(at != libc::MAP_FAILED, "no memory at a low address");
        // SAFETY: the mapping has so many bytes, is never unmapped, and nobody else knows it.
        let low = unsafe { std::slice::from_raw_parts_mut(at.cast::<u8>(), bytes.len()) };
        low.copy_from_slice(bytes);
        Ok(Self(low))
    }
}

/// rbpf, compiled or not.
struct Rbpf {
    vm: rbpf::EbpfVmMbuff<'static>,
    compiled: bool,
    packet: Low,
    context: Vec<u8>,
}

impl Rbpf {
    fn load(program: &str, compiled: bool, packet: &[u8]) -> Result<Self> {
        let code: &'static [u8] = code(program)?.leak();
        let mut vm = rbpf::EbpfVmMbuff::new(Some(code))?;
        if compiled {
            vm.jit_compile()?;
        }
        let packet = Low::new(packet)?;
        let start = packet.0.as_ptr() as u64 as u32;
        let mut context = vec![0; 192];
        for (at, value) in [(0, PACKET as u32), (76, start), (80, start + PACKET as u32)] {
            context[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        Ok(Self {
            vm,
            compiled,
            packet,
            context,
        })
    }
}

impl Runner for Rbpf {
    fn name(&self) -> &'static str {
        if self.compiled { "rbpf JIT" } else { "rbpf" }
    }
    fn run(&mut self, times: u32) -> Result<(u32, f64)> {
        let Self {
            vm,
            compiled,
            packet,
            context,
        } = self;
        timed(times, || match compiled {
            // SAFETY: the kernel's verifier has let the program through.
            true => Ok(unsafe { vm.execute_program_jit(packet.0, context)? }),
            false => Ok(vm.execute_program(packet.0, context)?),
        })
    }
}

/// A program's instructions.
fn code(program: &str) -> Result<Vec<u8>> {
    let file = object::File::parse(corpus::object(OBJECTS[0])?)?;
    let symbol = file.symbols().find(|s| s.name() == Ok(program));
    let symbol = symbol.context("the program's symbol")?;
    let section = file.section_by_name(SECTION).context("the section")?;
    let start = symbol.address() as usize;
    Ok(section.data()?[start..start + symbol.size() as usize].to_vec())
}

fn runners(
    object: &str,
    program: &str,
    input: &Input,
    packet: &[u8],
) -> Result<Vec<Box<dyn Runner>>> {
    let mut builder = ObjectBuilder::default();
    let object = builder.open_memory(corpus::object(object)?)?.load()?;
    let mut runners: Vec<Box<dyn Runner>> = vec![Box::new(Kernel {
        object,
        program: program.to_owned(),
        packet: packet.to_vec(),
    })];
    for kind in [EngineKind::Jit, EngineKind::Wasmtime, EngineKind::Wasmi] {
        runners.push(Box::new(Wasm::load(input, program, kind, packet)?));
    }
    if WITHOUT_MAPS.contains(&program) {
        for compiled in [true, false] {
            runners.push(Box::new(Rbpf::load(program, compiled, packet)?));
        }
    }
    Ok(runners)
}

/// Nanoseconds a run under each runner, sample by sample.
fn measure(
    object: &str,
    program: &str,
    input: &Input,
    packet: &[u8],
    samples: usize,
) -> Result<Value> {
    let mut runners = runners(object, program, input, packet)?;
    let mut times = Vec::new();
    let mut expected = None;
    for runner in &mut runners {
        let (result, first) = runner.run(50)?;
        let name = runner.name();
        let expected = *expected.get_or_insert(result);
        ensure!(
            result == expected,
            "{program}: {name} computes {result}, the kernel {expected}"
        );
        times.push((SAMPLE as f64 / first.max(1.0)).clamp(10.0, 1e6) as u32);
    }
    let mut taken = vec![Vec::new(); runners.len()];
    for _ in 0..samples {
        for ((runner, times), taken) in runners.iter_mut().zip(&times).zip(&mut taken) {
            taken.push(runner.run(*times)?.1);
        }
    }
    let rows = runners.iter().zip(taken);
    let rows = rows.map(|(runner, ns)| json!({ "runtime": runner.name(), "samples": ns }));
    Ok(json!({ "name": program, "runtimes": rows.collect::<Vec<_>>() }))
}

/// How fast objects are translated, and how large what comes out is.
fn translation() -> Result<Value> {
    let (mut slots, mut object_bytes, mut wasm_bytes) = (0, 0, 0);
    let mut seconds = f64::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        (slots, object_bytes, wasm_bytes) = (0, 0, 0);
        for (name, object) in corpus::objects() {
            // Some are there to be refused.
            let Ok(converted) = convert(object, name, &Options::default()) else {
                continue;
            };
            slots += converted.summary.slots;
            object_bytes += object.len();
            wasm_bytes += converted.wasm.len();
        }
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    Ok(
        json!({ "instructions": slots, "seconds": seconds, "object": object_bytes, "wasm": wasm_bytes }),
    )
}

fn main() -> Result<()> {
    let samples = std::env::args().nth(1).context("usage: compute SAMPLES")?;
    let samples: usize = samples.parse().context("usage: compute SAMPLES")?;
    let mut packet = Random(1).bytes(PACKET);
    // An Ethernet header, which the kernel looks at.
    packet[..14].copy_from_slice(&[0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 0x86, 0xdd]);
    let mut programs = Vec::new();
    for object in OBJECTS {
        let input = Input::from_bytes(corpus::object(object)?, object, Path::new(object), None)?;
        let manifest = input.manifest.as_ref().context("a manifest")?;
        for program in &manifest.programs {
            programs.push(measure(object, &program.name, &input, &packet, samples)?);
            eprintln!("{}", program.name);
        }
    }
    println!(
        "{}",
        json!({ "programs": programs, "translation": translation()? })
    );
    Ok(())
}

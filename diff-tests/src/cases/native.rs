//! Native code in place of wasm: what is refused, and that it does what native eBPF does.

use std::process::Command;

use abi::native::{HEADER, MAGIC, VERSION};
use abi::uapi::AttachPoint;
use anyhow::{Context, Result, bail, ensure};
use loader::device::{Code, LinkSpec, ModuleSpec};
use loader::load::Engine;
use loader::user::compile;

use super::{Case, vfsstat};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("native::what_is_no_image_of_the_module_is_refused", refused),
    ("native::counts_as_native_ebpf", equal),
    ("native::is_shown", shown),
];

const MEMORY: u32 = 1 << 20;

/// Loads `image` as the native code of `wasm`; why it is refused.
fn refusal(wasm: &[u8], image: &[u8]) -> Result<String> {
    let sandbox = guest::device()?.create_sandbox("native", MEMORY.into())?;
    let loaded = sandbox.load(&ModuleSpec {
        name: "native",
        wasm,
        trap_limit: 0,
        fuel: 0,
        native: Code::Image(image),
    });
    match loaded {
        Ok(_) => bail!("it was loaded"),
        Err(error) => Ok(error.to_string()),
    }
}

fn refused() -> Result<()> {
    let wasm = corpus::module("callbacks")?;
    let good = compile(wasm, MEMORY)?;
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= to;
        bytes
    };
    let other = corpus::hostile_module("unreachable")?;
    let cases = [
        (wasm, good[..good.len() - 1].to_vec(), "damaged: text"),
        (wasm, changed(0, 1), "no native code"),
        (wasm, changed(MAGIC.len(), 0x80), "of version"),
        (wasm, changed(good.len() - 1, 1), "damaged: checksum"),
        (wasm, changed(HEADER - 1, 1), "damaged: checksum"),
        (other, good.clone(), "another module's"),
        (wasm, compile(wasm, 2 * MEMORY)?, "bytes of memory"),
        (wasm, vec![0; 5 << 20], "limit max_module"),
    ];
    for (wasm, image, why) in cases {
        let said = refusal(wasm, &image)?;
        ensure!(said.contains(why), "{said:?} has no {why:?}");
    }
    println!("version {VERSION}, {} bytes", good.len());
    Ok(())
}

fn equal() -> Result<()> {
    for engine in [Engine::Wasmi, Engine::Jit] {
        let table = vfsstat::measure_on(Some(engine), 10_000)?;
        ensure!(table.equal(), "{engine:?}: counters differ:\n{table}");
        ensure!(
            table.events() >= 10_000,
            "{engine:?}: too few events:\n{table}"
        );
    }
    Ok(())
}

fn shown() -> Result<()> {
    let wprobe = |args: &[&str]| guest::succeed(Command::new(guest::wprobe()?).args(args));
    let device = guest::device()?;
    let sandbox = device.create_sandbox("native", MEMORY.into())?;
    let wasm = corpus::module("callbacks")?;
    let image = compile(wasm, MEMORY)?;
    let module = sandbox.load(&ModuleSpec {
        name: "native",
        wasm,
        trap_limit: 0,
        fuel: 0,
        native: Code::Image(&image),
    })?;
    let link = LinkSpec::new("kprobe:null:", "__x64_sys_getpgrp", AttachPoint::Kprobe);
    let _link = module.attach(&link)?;
    let size = module.info()?.native;
    ensure!(size > 0 && size < image.len() as u64, "{size}");
    let said = String::from_utf8(wprobe(&["limits"])?.stdout)?;
    let row = said.lines().find(|line| line.starts_with("native"));
    let row = row.context("native code among the limits")?;
    ensure!(row.contains(&size.to_string()), "{row:?} has no {size}");
    let id = module.info()?.id.to_string();
    let said = String::from_utf8(wprobe(&["info", &id])?.stdout)?;
    ensure!(
        said.contains(&format!("{size} bytes of native code")),
        "{said}"
    );
    Ok(())
}

//! Stacks of the kernel and of its callers, against native eBPF on the same hits.

use anyhow::{Context, Result, ensure};
use libbpf_rs::MapCore;

use super::Case;
use crate::compare::difference;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[("stacks::ids_and_addresses_equal_native", equal)];

/// The object's program.
const PROGRAM: &str = "getpgrp_entry";
/// Calls of helpers at each hit.
const CALLS: usize = 22;

/// A frame as code with frame pointers makes it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Frame {
    next: u64,
    address: u64,
}

/// Calls getpgrp(2) in stacks of 0 to `most` frames, then in such as nobody makes.
fn work(most: u64) {
    let mut frames = vec![
        Frame {
            next: 0,
            address: 0
        };
        most as usize
    ];
    let first = frames.as_ptr() as u64;
    let place = |at: u64| first + at * size_of::<Frame>() as u64;
    let mut call = |next: u64, end: u64, address: u64| {
        for (frame, number) in frames.iter_mut().zip(1..) {
            let next = if number == next { end } else { place(number) };
            *frame = std::hint::black_box(Frame {
                next,
                address: address + number,
            });
        }
        syscalls::getpgrp_in_frame(first);
    };
    for depth in 1..most {
        call(depth, 0, 0x40_0000);
    }
    // A circle, a kernel's address, one that is not aligned, one where nothing is.
    for end in [first, 1 << 63 | first, first + 1, 8] {
        call(5, end, u64::MAX / 3);
    }
    syscalls::getpgrp_in_frame(0);
}

fn equal() -> Result<()> {
    const FRAMES: u64 = 40;
    let device = guest::device()?;
    let object = corpus::object("stacks")?;
    let mut native = Native::load(object, "stacks", &[PROGRAM])?;
    let mut wasm = Wasm::load(&device, object, "stacks", &[])?;
    native.attach()?;
    wasm.attach()?;
    for _ in 0..2 {
        work(FRAMES);
        compare(&native, &wasm)?;
        // What is deleted can be stored again.
        empty(&native, &wasm, "crowded")?;
    }
    let results = native.dump("results")?;
    let hits = 2 * (FRAMES as usize + 4);
    ensure!(results.len() == CALLS * hits, "{} calls", results.len());
    let succeeded = results.iter().filter(|(_, value)| value[7] == 0).count();
    // How many stacks find their bucket taken is the addresses' chance: not all may be such.
    ensure!(
        succeeded * 4 > results.len(),
        "a comparison of errors: of {} calls {succeeded} gave a stack",
        results.len()
    );
    let stacks = native.dump("stacks")?;
    println!("{} stacks, {} calls", stacks.len(), results.len());
    ensure!(stacks.len() > FRAMES as usize, "too few stacks");
    Ok(())
}

fn compare(native: &Native, wasm: &Wasm) -> Result<()> {
    for map in ["results", "buffers", "stacks", "crowded"] {
        if let Some(difference) = difference(&native.dump(map)?, &wasm.dump(map)?) {
            anyhow::bail!("{map}: {difference}");
        }
    }
    Ok(())
}

/// Deletes every element of both.
fn empty(native: &Native, wasm: &Wasm, map: &str) -> Result<()> {
    let keys: Vec<_> = native.dump(map)?.into_iter().map(|(key, _)| key).collect();
    ensure!(!keys.is_empty(), "{map} has no stacks");
    for key in &keys {
        native.map(map)?.delete(key).context("native delete")?;
        ensure!(wasm.map(map)?.delete(key)?, "{map}: not there to delete");
        ensure!(!wasm.map(map)?.delete(key)?, "{map}: deleted twice");
    }
    ensure!(wasm.dump(map)?.is_empty(), "{map}: still there");
    Ok(())
}

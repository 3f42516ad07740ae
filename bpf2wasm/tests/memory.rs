//! Memory and output in proportion to the input. A file of its own: it counts what the whole process allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bpf2wasm::{Options, Raw, assemble, convert_raw};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: it does nothing but count around the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most bytes at a time that translating one function of so many instructions takes.
fn peak(insns: usize) -> usize {
    let mut text = String::from("ldxdw r2, [r1]\nmov r0, 0\n");
    for i in 0..insns / 5 {
        text += &format!(
            "jgt r2, {i}, l{i}\nadd r0, r2\nxor r2, 5\nstxdw [r10-8], r0\nl{i}:\nlsh r0, 1\n"
        );
    }
    text += "exit\n";
    let code = assemble(&text).expect("correct assembly");
    drop(text);
    let raw = Raw {
        code: &code,
        section: "kprobe/x",
        maps: &[],
        license: "",
    };
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    convert_raw(&raw, "x", &Options::default()).expect("it converts");
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn memory_is_linear_in_the_input() {
    let [small, large] = [8_000, 80_000].map(peak);
    println!(
        "{} and {} bytes an instruction",
        small / 8_000,
        large / 80_000
    );
    assert!(
        large < 12 * small,
        "{small} bytes for 8,000, {large} for 80,000"
    );
    assert!(large < 80_000 * 1024, "{large} bytes for 80,000");
}

//! A function of this program that probes can be put on, and a statically defined tracepoint with a semaphore.

use std::arch::asm;
use std::hint::black_box;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// How many probes listen to `wprobe:target`; the kernel counts. It must lie in the file, so not in `.bss`.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".probes")]
static WPROBE_TEST_SEMAPHORE: AtomicU16 = AtomicU16::new(0);

/// Name of the function.
pub const FUNCTION: &str = "wprobe_test_function";

/// The function.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wprobe_test_function(a: u64, b: u64) -> u64 {
    black_box(a).wrapping_mul(31) ^ black_box(b)
}

/// Calls the function `n` times.
pub fn call(n: u64) {
    for i in 0..n {
        black_box(wprobe_test_function(black_box(i << 20), black_box(!i)));
    }
}

/// Functions that a pattern is about, and none else.
pub const FUNCTIONS: &str = "wprobe_test_each_*";
/// Their names.
pub const EACH: [&str; 2] = ["wprobe_test_each_first", "wprobe_test_each_second"];

/// One of [`EACH`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wprobe_test_each_first(a: u64) -> u64 {
    black_box(a).wrapping_mul(7)
}

/// The other.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn wprobe_test_each_second(a: u64) -> u64 {
    black_box(a).wrapping_mul(11)
}

/// Calls each of [`EACH`] `n` times.
pub fn each(n: u64) {
    for i in 0..n {
        black_box(wprobe_test_each_first(black_box(i << 20)));
        black_box(wprobe_test_each_second(black_box(i << 30)));
    }
}

/// Listeners to the tracepoint `wprobe:target`.
pub fn listeners() -> u16 {
    WPROBE_TEST_SEMAPHORE.load(Relaxed)
}

/// Passes the tracepoint `wprobe:target` `n` times, if somebody listens. It has three arguments: in a register, a signed
/// one in memory, and a constant. Of a copy that was inlined the linker would drop the original, and keep its note.
#[inline(never)]
pub fn tracepoint(n: u64) {
    for i in 0..n {
        if listeners() == 0 {
            continue;
        }
        let in_memory = -(i as i32);
        // SAFETY: a `nop`, and a note for debuggers that is not loaded.
        unsafe {
            asm!(
                "990: nop",
                ".pushsection .note.stapsdt,\"\",@note",
                ".balign 4",
                ".4byte 992f-991f, 994f-993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b",
                ".8byte 0",
                ".8byte {semaphore}",
                ".asciz \"wprobe\"",
                ".asciz \"target\"",
                ".asciz \"8@{a} -4@({b}) -8@$-7\"",
                "994: .balign 4",
                ".popsection",
                a = in(reg) i << 40,
                b = in(reg) &in_memory,
                semaphore = sym WPROBE_TEST_SEMAPHORE,
                options(att_syntax, readonly, nostack, preserves_flags),
            );
        }
    }
}

/// Places of the tracepoint `wprobe:many`.
pub const PLACES: u64 = 300;
/// Its argument at each of them.
pub const ARGUMENT: u64 = 7;

/// Passes the tracepoint `wprobe:many` at each of its [`PLACES`], `n` times. All have one argument, a constant.
#[inline(never)]
pub fn many(n: u64) {
    for _ in 0..n {
        // SAFETY: `nop`s, and notes for debuggers that are not loaded.
        unsafe {
            asm!(
                ".rept {places}",
                "990: nop",
                ".pushsection .note.stapsdt,\"\",@note",
                ".balign 4",
                ".4byte 992f-991f, 994f-993f, 3",
                "991: .asciz \"stapsdt\"",
                "992: .balign 4",
                "993: .8byte 990b",
                ".8byte 0",
                ".8byte 0",
                ".asciz \"wprobe\"",
                ".asciz \"many\"",
                ".asciz \"-4@${argument}\"",
                "994: .balign 4",
                ".popsection",
                ".endr",
                places = const PLACES,
                argument = const ARGUMENT,
                options(att_syntax, readonly, nostack, preserves_flags),
            );
        }
    }
}

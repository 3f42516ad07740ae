//! Kernel functions (kfuncs) that are here on every kernel, also where the kernel itself has none by that name.

use anyhow::{Result, ensure};

use super::Case;
use crate::compare::counters;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[("kfuncs::ranges_on_every_kernel", ranges)];

/// Ranges of numbers, also on kernels that have no such functions themselves.
fn ranges() -> Result<()> {
    /// A number's weight in the sum is how many there were with it, as in `RANGE` of `calls_iter.bpf.c`.
    fn expected(ranges: &[(i32, i32, u64)]) -> [u64; 3] {
        let [mut turns, mut sums, mut stops] = [0u64; 3];
        for (start, end, most) in ranges {
            for number in *start..*end {
                turns += 1;
                sums = sums.wrapping_add((i64::from(number) as u64).wrapping_mul(turns));
                if *most != 0 && turns.is_multiple_of(*most) {
                    stops += 1;
                    break;
                }
            }
        }
        [turns, sums, stops]
    }
    const ROUND: i32 = 42;
    let object = corpus::object("calls_iter")?;
    let mut wasm = Wasm::load(&guest::device()?, object, "calls_iter", &["range_in_probe"])?;
    let input: Vec<u8> = [ROUND as u64, 30, 20, 0, 0, 0, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    wasm.map(".data.input")?.update(&[0; 4], &input, 0)?;
    wasm.attach()?;
    syscalls::getpgid(1);
    let (min, max) = (i32::MIN, i32::MAX);
    let expected = expected(&[
        (0, 100, 0),
        (0, 100, 7),
        (-5, 5, 0),
        (max - 3, max, 0),
        (min, min + 3, 0),
        (0, 8 << 20, 3),
        (0, ROUND, 0),
        (-ROUND, ROUND, 0),
        (20, 30, 5),
    ]);
    let found = counters(&wasm.section(".bss")?);
    ensure!(found.starts_with(&expected), "{found:?}, not {expected:?}");
    for program in wasm.programs()? {
        ensure!(program.traps == 0, "{} traps", program.traps);
    }
    Ok(())
}

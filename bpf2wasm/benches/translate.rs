//! Translation speed: `cargo bench -p bpf2wasm`. Prints instructions per second over Debian's tools and over one huge function.

use std::time::{Duration, Instant};

use bpf2wasm::{Options, Raw, assemble, convert, convert_raw, embedded_objects};

/// Runs `work` for about two seconds; it says how many instruction slots it translated.
fn measure(name: &str, work: impl Fn() -> usize) {
    let start = Instant::now();
    let (mut slots, mut fastest) = (0, Duration::MAX);
    while start.elapsed() < Duration::from_secs(2) {
        let round = Instant::now();
        slots = work();
        fastest = fastest.min(round.elapsed());
    }
    let rate = slots as f64 / fastest.as_secs_f64() / 1e6;
    println!("{name:<24} {slots:>8} slots in {fastest:>10.2?}: {rate:.2} M/s");
}

fn main() {
    let tools: Vec<Vec<u8>> = std::fs::read_dir("/usr/sbin")
        .expect("/usr/sbin")
        .filter_map(|entry| std::fs::read(entry.ok()?.path()).ok())
        .flat_map(|file| {
            let objects = embedded_objects(&file).unwrap_or_default();
            objects.iter().map(|o| o.bytes.to_vec()).collect::<Vec<_>>()
        })
        .collect();
    measure("tools in /usr/sbin", || {
        let slots =
            |object| convert(object, "x", &Options::default()).map_or(0, |c| c.summary.slots);
        tools.iter().map(|object| slots(object)).sum()
    });
    // As many instructions as the largest function seen, branches among them.
    let mut text = String::from("ldxdw r2, [r1]\nmov r0, 0\n");
    for i in 0..16_000 {
        text += &format!(
            "jgt r2, {i}, l{i}\nadd r0, r2\nxor r2, 5\nstxdw [r10-8], r0\nl{i}:\nlsh r0, 1\n"
        );
    }
    text += "exit\n";
    let code = assemble(&text).expect("correct assembly");
    let raw = Raw {
        code: &code,
        section: "kprobe/x",
        maps: &[],
        license: "",
    };
    measure("one function", || {
        convert_raw(&raw, "huge", &Options::default())
            .expect("it converts")
            .summary
            .slots
    });
}

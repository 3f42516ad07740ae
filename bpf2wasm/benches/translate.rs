//! Translation speed: `cargo bench -p bpf2wasm`. Instructions per second, over Debian's tools and over one huge function.

use bpf2wasm::{Options, Raw, assemble, convert, convert_raw, embedded_objects};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Measures `work`, which says how many instruction slots it translated.
fn measure(criterion: &mut Criterion, name: &str, work: impl Fn() -> usize) {
    let mut group = criterion.benchmark_group("translate");
    group.throughput(Throughput::Elements(work() as u64));
    group.sample_size(20);
    group.bench_function(name, |bencher| bencher.iter(&work));
    group.finish();
}

fn tools(criterion: &mut Criterion) {
    let tools: Vec<Vec<u8>> = std::fs::read_dir("/usr/sbin")
        .expect("/usr/sbin")
        .filter_map(|entry| std::fs::read(entry.ok()?.path()).ok())
        .flat_map(|file| {
            let objects = embedded_objects(&file).unwrap_or_default();
            objects.iter().map(|o| o.bytes.to_vec()).collect::<Vec<_>>()
        })
        .collect();
    let slots = |object| convert(object, "x", &Options::default()).map_or(0, |c| c.summary.slots);
    measure(criterion, "tools in /usr/sbin", || {
        tools.iter().map(|object| slots(object)).sum()
    });
}

/// As many instructions as the largest function seen, branches among them.
fn huge(criterion: &mut Criterion) {
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
    measure(criterion, "one function", || {
        convert_raw(&raw, "huge", &Options::default())
            .expect("it converts")
            .summary
            .slots
    });
}

criterion_group!(benches, tools, huge);
criterion_main!(benches);

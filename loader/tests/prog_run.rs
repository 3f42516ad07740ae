//! `wprobe prog run`, as a user meets it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// Drops UDP over IPv4, counts down the first byte otherwise.
const PROGRAM: &str = r#"
#include <linux/bpf.h>
#define SEC(name) __attribute__((section(name), used))
SEC("xdp") int drop_udp(struct xdp_md *ctx)
{
    unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + 34 > end)
        return XDP_ABORTED;
    data[0] = 7;
    return data[23] == 17 ? XDP_DROP : XDP_PASS;
}
SEC("tc") int length(struct __sk_buff *skb) { return skb->len; }
SEC("raw_tp/x") int add(unsigned long long *args) { return args[0] + args[1]; }
char license_text[] SEC("license") = "GPL";
"#;

struct Scene(PathBuf);

impl Scene {
    fn new(name: &str) -> Self {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&dir).unwrap();
        let scene = Scene(dir);
        let source = scene.file("x.bpf.c", PROGRAM.as_bytes());
        let built = Command::new("clang-19")
            .args([
                "-target",
                "bpf",
                "-O2",
                "-g",
                "-I/usr/include/x86_64-linux-gnu",
                "-c",
            ])
            .args([&source, "-o", &scene.path("x.bpf.o")])
            .status();
        assert!(built.unwrap().success());
        scene
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_wprobe"))
            .args(["prog", "run", &self.path("x.bpf.o"), program])
            .args(args)
            .output()
            .unwrap()
    }
}

fn packet(protocol: u8) -> Vec<u8> {
    let mut packet = vec![0; 60];
    (packet[12], packet[23]) = (8, protocol);
    packet
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn packets_go_in_and_come_out_on_each_engine() {
    let scene = Scene::new("packets");
    for (protocol, verdict) in [(17, 1), (6, 2)] {
        let data = scene.file("in.bin", &packet(protocol));
        for engine in ["wasmi", "jit", "wasmtime"] {
            let out = scene.path("out.bin");
            let args = ["--data-in", &data, "--data-out", &out, "--engine", engine];
            let text = stdout(&scene.run("drop_udp", &args));
            assert!(
                text.starts_with(&format!("Return value: {verdict}, duration")),
                "{text}"
            );
            let mut expected = packet(protocol);
            expected[0] = 7;
            assert_eq!(fs::read(&out).unwrap(), expected);
        }
        let text = stdout(&scene.run("length", &["--data-in", &data]));
        assert!(text.starts_with("Return value: 60,"), "{text}");
    }
}

#[test]
fn contexts_are_given_where_there_is_no_packet() {
    let scene = Scene::new("contexts");
    let args: Vec<u8> = [40u64, 2]
        .iter()
        .flat_map(|arg| arg.to_le_bytes())
        .collect();
    let context = scene.file("args.bin", &args);
    let text = stdout(&scene.run("add", &["--ctx-in", &context, "--repeat", "3", "--json"]));
    assert!(text.contains(r#""retval":42"#), "{text}");
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let scene = Scene::new("refusals");
    let data = scene.file("in.bin", &packet(17));
    for (program, args, reason) in [
        (
            "nope",
            &[][..],
            "no program nope; there are: drop_udp, length, add",
        ),
        ("drop_udp", &[], "less than an Ethernet header"),
        ("drop_udp", &["--ctx-in", data.as_str()], "get a packet"),
        ("add", &["--data-in", data.as_str()], "get no packet"),
        ("add", &["--ctx-in", "/no/such/file"], "/no/such/file"),
        ("add", &["--fuel", "1"], "execution budget exhausted"),
    ] {
        let output = scene.run(program, args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(reason), "{program}: {error}");
    }
    assert_eq!(scene.run("add", &["--repeat", "0"]).status.code(), Some(2));
}

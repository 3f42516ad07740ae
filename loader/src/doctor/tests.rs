use super::*;

fn good() -> Facts {
    Facts {
        release: "6.12.1".to_owned(),
        btf: Some(true),
        capabilities: u64::MAX,
        lockdown: Some("none".to_owned()),
        device: Some(Ok(1)),
        loaded: true,
        tracefs: Some(true),
        missing: Some(Vec::new()),
        symbols: true,
        ..Facts::default()
    }
}

/// What is wrong, and what to do about it.
fn lacks(facts: &Facts) -> Vec<String> {
    let lacks = checks(facts).into_iter().filter_map(|check| {
        let Check {
            what,
            found,
            remedy,
            ..
        } = check;
        Some(format!("{what}: {found}: {}", remedy?))
    });
    lacks.collect()
}

fn refusal(denied: bool, why: &str) -> Option<Refusal> {
    let why = why.to_owned();
    Some(Refusal { denied, why })
}

#[test]
fn what_a_user_may_not_is_not_said_to_be_missing() {
    let facts = Facts {
        btf: None,
        ebpf: refusal(true, "Operation not permitted"),
        lockdown: None,
        device: refusal(true, "permission denied").map(Err),
        tracefs: None,
        missing: None,
        ..good()
    };
    let lacks = lacks(&facts);
    assert_eq!(lacks.len(), 5 + ATTACH.len(), "{lacks:?}");
    for lack in lacks {
        let is_right = lack.contains("this user") && lack.contains("run as root");
        assert!(is_right && !lack.contains("not mounted"), "{lack}");
    }
}

#[test]
fn a_path_behind_a_door_is_not_known() {
    assert_eq!(is_there(&["/proc/self"]), Some(true));
    assert_eq!(is_there(&["/no/such/file"]), Some(false));
    assert_eq!(is_there(&["/no/such/file", "/proc/self"]), Some(true));
}

#[test]
fn a_host_that_has_all_lacks_nothing() {
    assert_eq!(lacks(&good()), [""; 0]);
    assert_eq!(no_native(&checks(&good())), None);
    let text = to_text(&checks(&good()));
    assert!(
        text.starts_with("ok  privileges       enough\nok  eBPF             works\n"),
        "{text}"
    );
}

#[test]
fn each_lack_says_what_to_do() {
    let case = |change: fn(&mut Facts)| {
        let mut facts = good();
        change(&mut facts);
        lacks(&facts).join("\n")
    };
    for (change, expected) in [
        (
            (|f| f.capabilities = 0) as fn(&mut Facts),
            "privileges: neither CAP_SYS_ADMIN, nor CAP_BPF and CAP_PERFMON: run it with sudo, or give it the two: `setcap cap_bpf,cap_perfmon+ep wprobe`",
        ),
        (
            |f| f.ebpf = refusal(false, "not implemented"),
            "eBPF: not implemented: use the kernel module (--runtime kernel-wasm), or a kernel with CONFIG_BPF_SYSCALL",
        ),
        (
            |f| (f.device, f.loaded, f.installed) = (None, false, true),
            "kernel module: installed, not loaded: `modprobe wprobe`",
        ),
        (
            |f| (f.device, f.loaded, f.signed_only) = (None, false, true),
            "kernel module: not installed for 6.12.1: build it with kmod/build.sh and `insmod wprobe.ko`, or install the package wprobe-dkms; this kernel takes signed modules only: sign it with a key that `mokutil --import` enrolled",
        ),
        (
            |f| f.device = None,
            "kernel module: loaded, but /dev/wprobe is not there: mount devtmpfs on /dev, or make the device by hand (its number is in /proc/misc)",
        ),
        (
            |f| f.btf = Some(false),
            concat!(
                "kernel BTF: no /sys/kernel/btf/vmlinux, and no values for this kernel in /usr/lib/wprobe/values: objects with CO-RE need it, ",
                "and native eBPF a kernel with CONFIG_DEBUG_INFO_BTF. For kernel-wasm, its BTF from a file (--btf), or, made where that is, ",
                "`wprobe values MODULE --btf 6.12.1=FILE -o MODULE.values` (of a kernel that was built without BTF, `--dwarf 6.12.1=VMLINUX`), and the result here: --values, or in /usr/lib/wprobe/values"
            ),
        ),
        (
            |f| f.lockdown = Some("confidentiality".to_owned()),
            "lockdown: confidentiality: no probe may read the kernel's memory: boot with lockdown=integrity, or without Secure Boot",
        ),
        (
            |f| f.tracefs = Some(false),
            "tracefs: not mounted: `mount -t tracefs tracefs /sys/kernel/tracing`: tracepoints are found there",
        ),
        (
            |f| f.missing = Some(vec!["register_kprobe"]),
            "kprobe: not in this kernel: no kprobe probes here: a kernel built without register_kprobe()",
        ),
        (
            |f| f.symbols = false,
            "kernel symbols: hidden: stacks are shown as numbers: `sysctl kernel.kptr_restrict=0`, or run as root",
        ),
    ] {
        assert_eq!(case(change), expected);
    }
}

#[test]
fn what_native_ebpf_cannot_do_without_is_named() {
    let facts = Facts {
        btf: Some(false),
        ..good()
    };
    let why = no_native(&checks(&facts));
    assert_eq!(
        why.as_deref(),
        Some(
            "kernel BTF: no /sys/kernel/btf/vmlinux, and no values for this kernel in /usr/lib/wprobe/values"
        )
    );
    let found = |values| {
        let facts = Facts {
            btf: Some(false),
            values: Some(values),
            ..good()
        };
        no_native(&checks(&facts)).unwrap_or_default()
    };
    let names = ["opensnoop", "tcplife"].map(str::to_owned).to_vec();
    assert!(found(Ok(names)).ends_with("has values for this kernel of opensnoop, tcplife"));
    let broken = found(Err("x.values: no file of values".to_owned()));
    assert!(
        broken.ends_with("vmlinux; x.values: no file of values"),
        "{broken}"
    );
    let facts = Facts {
        device: None,
        ..good()
    };
    assert_eq!(no_native(&checks(&facts)), None);
}

#[test]
fn the_word_in_brackets_is_the_lockdown() {
    assert_eq!(lockdown("none [integrity] confidentiality\n"), "integrity");
    assert_eq!(lockdown(""), "none");
}

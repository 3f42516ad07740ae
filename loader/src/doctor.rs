//! What this host offers to both runtimes, and what to do about each lack.
//!
//! [`Facts`] are found out, [`checks`] makes sense of them; so every sentence can be tested without the host it is about.

use std::fs;
use std::io;
use std::path::Path;

use abi::uapi;
use libbpf_rs::{MapHandle, MapType};
use serde::Serialize;

use crate::answers;
use crate::device::{self, Device};
use crate::values::KERNEL_BTF;

/// What was found out. `None` where this user may not look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The running kernel's release.
    pub release: String,
    /// Whether it has BTF of its own.
    pub btf: Option<bool>,
    /// Modules of which there are values for it, for kernels without BTF; or why they cannot be read.
    pub values: Option<Result<Vec<String>, String>>,
    /// Effective capabilities of this process.
    pub capabilities: u64,
    /// Why bpf(2) makes no map, if it does not.
    pub ebpf: Option<Refusal>,
    /// How far the kernel is locked down: `none`, `integrity`, `confidentiality`.
    pub lockdown: Option<String>,
    /// Whether the kernel takes signed modules only.
    pub signed_only: bool,
    /// Whether a module called wprobe is loaded.
    pub loaded: bool,
    /// Why the device cannot be used, if it cannot; `Ok` has the version of its interface.
    pub device: Option<Result<u32, Refusal>>,
    /// Whether a module of this kernel's is installed.
    pub installed: bool,
    /// Whether tracefs is there.
    pub tracefs: Option<bool>,
    /// Functions of the kernel that are not there, of those that attach types need.
    pub missing: Option<Vec<&'static str>>,
    /// Whether addresses of kernel functions can be read.
    pub symbols: bool,
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whether it is this user who may not, and another may.
    pub denied: bool,
    /// In words.
    pub why: String,
}

/// Who needs what a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Concerns {
    /// Both runtimes.
    Both,
    /// Native eBPF.
    Native,
    /// The kernel module.
    KernelWasm,
    /// Neither: something is less readable.
    Neither,
}

/// One thing that this host offers, or lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What to do about it; `None` if all is well.
    pub remedy: Option<String>,
    /// Who cannot work without it.
    pub concerns: Concerns,
}

/// Linux's numbers of the capabilities that probes need.
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// Attach types, and the kernel's functions without which there are none.
const ATTACH: &[(&str, &str)] = &[
    ("kprobe", "register_kprobe"),
    ("kretprobe", "register_kretprobe"),
    ("fentry, fexit", "register_ftrace_function"),
    ("uprobe, usdt", "uprobe_register"),
    ("tracepoint", "tracepoint_probe_register_prio"),
    ("perf_event", "perf_event_create_kernel_counter"),
];

impl Facts {
    /// Finds out about this host.
    pub fn gather() -> Self {
        let try_read = |path: &str| fs::read_to_string(path);
        let read = |path: &str| try_read(path).unwrap_or_default();
        let release = read("/proc/sys/kernel/osrelease").trim().to_owned();
        let symbols = read("/proc/kallsyms");
        let status = read("/proc/self/status");
        let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:"));
        let capabilities = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        let has = |name: &str| symbols.lines().any(|l| l.split(' ').nth(2) == Some(name));
        let missing = ATTACH.iter().map(|(_, function)| *function);
        let missing = missing.filter(|name| !has(name)).collect();
        let modules = read("/proc/modules");
        let locked = try_read("/sys/kernel/security/lockdown");
        let tracefs = [
            "/sys/kernel/tracing/events",
            "/sys/kernel/debug/tracing/events",
        ];
        Facts {
            btf: is_there(&[KERNEL_BTF]),
            values: Some(answers::installed().map_err(|e| e.to_string())),
            capabilities: capabilities.unwrap_or(0),
            ebpf: ebpf(),
            lockdown: match locked {
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => None,
                text => Some(lockdown(&text.unwrap_or_default())),
            },
            signed_only: read("/sys/module/module/parameters/sig_enforce").trim() == "Y",
            loaded: modules.lines().any(|line| line.starts_with("wprobe ")),
            device: device(),
            installed: installed(&release),
            tracefs: is_there(&tracefs),
            missing: (!symbols.is_empty()).then_some(missing),
            symbols: symbols
                .lines()
                .any(|line| !line.starts_with("0000000000000000")),
            release,
        }
    }
}

/// Whether one of `paths` is there.
fn is_there(paths: &[&str]) -> Option<bool> {
    let found = paths.iter().map(fs::metadata);
    let found: Vec<_> = found.map(|m| m.map_err(|e| e.kind())).collect();
    if found.iter().any(Result::is_ok) {
        return Some(true);
    }
    let denied = |kind: &io::ErrorKind| *kind == io::ErrorKind::PermissionDenied;
    match found.iter().any(|m| m.as_ref().is_err_and(denied)) {
        true => None,
        false => Some(false),
    }
}

/// Why bpf(2) makes no map.
fn ebpf() -> Option<Refusal> {
    let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as u64,
        ..Default::default()
    };
    let made = MapHandle::create(MapType::Array, Some("wprobe_doctor"), 4, 4, 1, &options);
    made.err().map(|e| Refusal {
        denied: e.kind() == libbpf_rs::ErrorKind::PermissionDenied,
        why: e.to_string(),
    })
}

/// The word in brackets.
fn lockdown(text: &str) -> String {
    let word = text
        .split('[')
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    word.unwrap_or("none").to_owned()
}

fn device() -> Option<Result<u32, Refusal>> {
    match Device::open() {
        Ok(_) => Some(Ok(uapi::VERSION)),
        Err(device::Error::Open(e)) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => Some(Err(Refusal {
            denied: matches!(&e, device::Error::Open(e) if e.kind() == io::ErrorKind::PermissionDenied),
            why: e.to_string(),
        })),
    }
}

fn installed(release: &str) -> bool {
    let places = ["updates/dkms", "updates", "extra", "kernel/extra"];
    let names = ["wprobe.ko", "wprobe.ko.xz", "wprobe.ko.zst"];
    let folder = Path::new("/lib/modules").join(release);
    let mut files = places
        .iter()
        .flat_map(|place| names.iter().map(move |name| (place, name)));
    files.any(|(place, name)| folder.join(place).join(name).exists())
}

/// What the facts mean, most important first.
pub fn checks(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![
        privileges(facts),
        check_ebpf(facts),
        module(facts),
        btf(facts),
        lock(facts),
        tracefs(facts),
    ];
    for (what, function) in ATTACH {
        let Some(missing) = &facts.missing else {
            checks.push(unseen(what, "/proc/kallsyms", Concerns::Neither));
            continue;
        };
        let lacks = missing.contains(function);
        let found = if lacks {
            "not in this kernel"
        } else {
            "can be attached"
        };
        let remedy = format!("no {what} probes here: a kernel built without {function}()");
        checks.push(of(what, found, lacks.then_some(remedy), Concerns::Neither));
    }
    let hidden = "stacks are shown as numbers: `sysctl kernel.kptr_restrict=0`, or run as root";
    let found = if facts.symbols { "readable" } else { "hidden" };
    let remedy = (!facts.symbols).then(|| hidden.to_owned());
    checks.push(of("kernel symbols", found, remedy, Concerns::Neither));
    checks
}

fn of(
    what: &'static str,
    found: impl Into<String>,
    remedy: Option<String>,
    concerns: Concerns,
) -> Check {
    Check {
        what,
        found: found.into(),
        remedy,
        concerns,
    }
}

/// What this user may not look at. Whether it is there, nobody said.
fn unseen(what: &'static str, path: &str, concerns: Concerns) -> Check {
    let found = format!("not known: this user may not look at {path}");
    of(
        what,
        found,
        Some("run as root to know".to_owned()),
        concerns,
    )
}

fn privileges(facts: &Facts) -> Check {
    let has = |bits| facts.capabilities & bits == bits;
    let enough = has(CAP_SYS_ADMIN) || has(CAP_BPF | CAP_PERFMON);
    let found = match enough {
        true => "enough",
        false => "neither CAP_SYS_ADMIN, nor CAP_BPF and CAP_PERFMON",
    };
    let remedy = "run it with sudo, or give it the two: `setcap cap_bpf,cap_perfmon+ep wprobe`";
    let remedy = (!enough).then(|| remedy.to_owned());
    of("privileges", found, remedy, Concerns::Both)
}

fn check_ebpf(facts: &Facts) -> Check {
    let Some(Refusal { denied, why }) = &facts.ebpf else {
        return of("eBPF", "works", None, Concerns::Native);
    };
    let (found, remedy) = match denied {
        true => (
            format!("not for this user: {why}"),
            "run as root, or with CAP_BPF and CAP_PERFMON",
        ),
        false => (
            why.clone(),
            "use the kernel module (--runtime kernel-wasm), or a kernel with CONFIG_BPF_SYSCALL",
        ),
    };
    of("eBPF", found, Some(remedy.to_owned()), Concerns::Native)
}

fn module(facts: &Facts) -> Check {
    let what = "kernel module";
    let (found, remedy) = match (&facts.device, facts.loaded, facts.installed) {
        (Some(Ok(version)), ..) => {
            let found = format!("loaded, interface version {version}");
            return of(what, found, None, Concerns::KernelWasm);
        }
        (Some(Err(Refusal { denied: true, .. })), ..) => (
            format!("loaded; this user may not open {}", device::PATH),
            "run as root, or with CAP_BPF and CAP_PERFMON",
        ),
        (Some(Err(refusal)), ..) => (refusal.why.clone(), "load the module of this version"),
        (None, true, _) => (
            format!("loaded, but {} is not there", device::PATH),
            "mount devtmpfs on /dev, or make the device by hand (its number is in /proc/misc)",
        ),
        (None, false, true) => ("installed, not loaded".to_owned(), "`modprobe wprobe`"),
        (None, false, false) => (
            format!("not installed for {}", facts.release),
            "build it with kmod/build.sh and `insmod wprobe.ko`, or install the package wprobe-dkms",
        ),
    };
    let mut remedy = remedy.to_owned();
    if facts.signed_only {
        remedy += "; this kernel takes signed modules only: sign it with a key that `mokutil --import` enrolled";
    }
    of(what, found, Some(remedy), Concerns::KernelWasm)
}

fn btf(facts: &Facts) -> Check {
    let Some(is_there) = facts.btf else {
        return unseen("kernel BTF", KERNEL_BTF, Concerns::Native);
    };
    if is_there {
        let found = format!("{KERNEL_BTF} is there");
        return of("kernel BTF", found, None, Concerns::Native);
    }
    let names = match &facts.values {
        Some(Err(why)) => Err(why),
        Some(Ok(names)) => Ok(names.as_slice()),
        None => Ok(&[][..]),
    };
    let found = match names {
        Err(why) => format!("no {KERNEL_BTF}; {why}"),
        Ok([]) => format!(
            "no {KERNEL_BTF}, and no values for this kernel in {}",
            answers::PLACE
        ),
        Ok(names) => format!(
            "no {KERNEL_BTF}; {} has values for this kernel of {}",
            answers::PLACE,
            names.join(", ")
        ),
    };
    let remedy = format!(
        "objects with CO-RE need it, and native eBPF a kernel with CONFIG_DEBUG_INFO_BTF. For kernel-wasm, its BTF from a file (--btf), or, made where that is, `wprobe values MODULE --btf {}=FILE -o MODULE.values` (of a kernel that was built without BTF, `--dwarf {}=VMLINUX`), and the result here: --values, or in {}",
        facts.release,
        facts.release,
        answers::PLACE
    );
    of("kernel BTF", found, Some(remedy), Concerns::Native)
}

fn lock(facts: &Facts) -> Check {
    let Some(lockdown) = &facts.lockdown else {
        return unseen(
            "lockdown",
            "/sys/kernel/security/lockdown",
            Concerns::Neither,
        );
    };
    let (remedy, concerns) = match lockdown.as_str() {
        "confidentiality" => (
            "no probe may read the kernel's memory: boot with lockdown=integrity, or without Secure Boot",
            Concerns::Both,
        ),
        "integrity" if facts.device.is_none() => (
            "only signed modules are taken: sign wprobe.ko, or boot without Secure Boot",
            Concerns::KernelWasm,
        ),
        _ => return of("lockdown", lockdown, None, Concerns::Both),
    };
    of("lockdown", lockdown, Some(remedy.to_owned()), concerns)
}

fn tracefs(facts: &Facts) -> Check {
    let Some(is_there) = facts.tracefs else {
        return unseen("tracefs", "/sys/kernel/tracing", Concerns::Neither);
    };
    let found = if is_there { "mounted" } else { "not mounted" };
    let remedy = "`mount -t tracefs tracefs /sys/kernel/tracing`: tracepoints are found there";
    let remedy = (!is_there).then(|| remedy.to_owned());
    of("tracefs", found, remedy, Concerns::Neither)
}

/// Why native eBPF cannot work here at all, if it cannot.
pub fn no_native(checks: &[Check]) -> Option<String> {
    let lack = checks.iter().find(|check| {
        check.remedy.is_some() && matches!(check.concerns, Concerns::Both | Concerns::Native)
    });
    lack.map(|check| format!("{}: {}", check.what, check.found))
}

/// A line a check, and what to do.
pub fn to_text(checks: &[Check]) -> String {
    let mut text = String::new();
    for Check {
        what,
        found,
        remedy,
        ..
    } in checks
    {
        let mark = if remedy.is_none() { "ok" } else { "--" };
        text += &format!("{mark}  {what:<16} {found}\n");
        text += &remedy
            .iter()
            .map(|r| format!("{:21}{r}\n", ""))
            .collect::<String>();
    }
    text
}

#[cfg(test)]
mod tests;

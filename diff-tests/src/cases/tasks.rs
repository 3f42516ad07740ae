//! Helpers about the current task, against native eBPF on the same hits.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use libbpf_rs::{MapCore, MapFlags};

use super::Case;
use crate::compare::{counters, difference};
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::{on_every_cpu, syscalls};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("tasks::groups_and_namespaces_equal_native", equal),
    ("tasks::signals_arrive", signals),
    ("tasks::clocks_are_the_kernels", clocks),
    ("tasks::storage_equals_native", storage),
];

/// Words of `.bss` before the results: device, inode, signal.
const SETTINGS: usize = 3;
/// Where the signal lies in `.bss`.
const SIGNAL: std::ops::Range<usize> = 16..20;

/// A mount of the control groups, made for the test.
struct Groups;

impl Groups {
    const PLACE: &str = "/tmp/wprobe-groups";

    fn mount() -> Result<Self> {
        fs::create_dir_all(Self::PLACE)?;
        let place = std::ffi::CString::new(Self::PLACE)?;
        let kind = c"cgroup2";
        // SAFETY: all strings are NUL-terminated and live through the call.
        let result = unsafe {
            libc::mount(
                kind.as_ptr(),
                place.as_ptr(),
                kind.as_ptr(),
                0,
                std::ptr::null(),
            )
        };
        ensure!(result == 0, "mount: {}", std::io::Error::last_os_error());
        Ok(Groups)
    }

    /// Makes a group.
    fn make(&self, name: &str) -> Result<File> {
        let path = Path::new(Self::PLACE).join(name);
        fs::create_dir_all(&path)?;
        Ok(File::open(path)?)
    }

    /// Moves this process to a group.
    fn enter(&self, name: &str) -> Result<()> {
        let path = Path::new(Self::PLACE).join(name).join("cgroup.procs");
        fs::write(path, std::process::id().to_string()).context("cannot enter the group")
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let back = self.enter("");
        for name in ["a/b", "a", "c"] {
            // A group still in use stays, as does the guest's shutdown clean it.
            let _ = fs::remove_dir(Path::new(Self::PLACE).join(name));
        }
        let place = std::ffi::CString::new(Self::PLACE);
        if let (Ok(()), Ok(place)) = (back, place) {
            // SAFETY: the path is NUL-terminated.
            unsafe { libc::umount2(place.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

/// The object under both runtimes, attached, with the namespace's place in it.
fn load() -> Result<(Native, Wasm)> {
    let device = guest::device()?;
    let object = corpus::object("tasks")?;
    let programs = ["getpgrp_entry", "getppid_entry"];
    let mut native = Native::load(object, "tasks", &programs)?;
    let mut wasm = Wasm::load(&device, object, "tasks", &programs)?;
    native.attach()?;
    wasm.attach()?;
    Ok((native, wasm))
}

/// Writes the settings.
fn settings(native: &Native, wasm: &Wasm, signal: i32) -> Result<()> {
    let space = fs::metadata("/proc/self/ns/pid")?;
    let words = [space.dev(), space.ino(), signal as u64];
    let mut section = native.section(".bss")?;
    let place = section.get_mut(..SETTINGS * 8).context(".bss is short")?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    place.copy_from_slice(&bytes);
    native.set_section(".bss", &section)?;
    wasm.map(".bss")?.update(&[0; 4], &section, 0)?;
    Ok(())
}

fn equal() -> Result<()> {
    let groups = Groups::mount()?;
    let files = [groups.make("a")?, groups.make("a/b")?, groups.make("c")?];
    let (native, wasm) = load()?;
    settings(&native, &wasm, 0)?;
    let put = |index: u32, fd: RawFd| -> Result<()> {
        let (key, fd) = (index.to_ne_bytes(), fd.to_ne_bytes());
        native.map("groups")?.update(&key, &fd, MapFlags::ANY)?;
        Ok(wasm.map("groups")?.update(&key, &fd, 0)?)
    };
    let mut seen = Vec::new();
    for (inside, place) in [
        ("", 0),
        ("a", 1),
        ("a/b", 0),
        ("a/b", 1),
        ("c", 1),
        ("c", 2),
    ] {
        groups.enter(inside)?;
        put(1, files[place].as_raw_fd())?;
        syscalls::getpgrp(1);
        let results = [native.section(".bss")?, wasm.section(".bss")?].map(|b| counters(&b));
        let [native, wasm] = &results;
        ensure!(
            native == wasm,
            "in {inside:?}: native {native:x?}\nwasm   {wasm:x?}"
        );
        let ids = native[SETTINGS + 32];
        ensure!(
            ids as u32 == std::process::id() || ids >> 32 == u64::from(std::process::id()),
            "no ids: {ids:x}"
        );
        ensure!(native[SETTINGS + 4] > 0, "no group");
        seen.push(native[SETTINGS + 1]);
    }
    ensure!(seen == [0, 0, 1, 1, 0, 1], "under: {seen:?}");
    let array = wasm.map("groups")?;
    ensure!(array.delete(&1u32.to_ne_bytes())?, "nothing to delete");
    ensure!(!array.delete(&1u32.to_ne_bytes())?, "deleted twice");
    native.map("groups")?.delete(&1u32.to_ne_bytes())?;
    syscalls::getpgrp(1);
    let results = [native.section(".bss")?, wasm.section(".bss")?].map(|b| counters(&b));
    ensure!(results[0] == results[1], "{results:x?}");
    let not_a_group = File::open("/")?.as_raw_fd().to_ne_bytes();
    for (key, value, errno) in [
        (0u32, [0xff; 4], libc::EBADF),
        (0, not_a_group, libc::EBADF),
        (4, not_a_group, libc::E2BIG),
    ] {
        let refused = array.update(&key.to_ne_bytes(), &value, 0);
        let refused = refused.map_err(|e| e.errno());
        ensure!(refused == Err(Some(errno)), "{key} {value:?}: {refused:?}");
    }
    // What is left in the map goes with the sandbox.
    put(3, files[0].as_raw_fd())
}

/// Signals that arrived, by both runtimes.
static ARRIVED: AtomicU32 = AtomicU32::new(0);

extern "C" fn arrived(_: libc::c_int) {
    ARRIVED.fetch_add(1, Ordering::Relaxed);
}

fn signals() -> Result<()> {
    const NUMBER: i32 = libc::SIGUSR2;
    let handler = arrived as extern "C" fn(libc::c_int);
    // SAFETY: the handler only counts.
    unsafe { libc::signal(NUMBER, handler as libc::sighandler_t) };
    let device = guest::device()?;
    let object = corpus::object("tasks")?;
    let mut wasm = Wasm::load(&device, object, "tasks", &["getpgrp_entry"])?;
    let set = |number: i32| -> Result<()> {
        let mut section = wasm.section(".bss")?;
        section[SIGNAL].copy_from_slice(&number.to_ne_bytes());
        Ok(wasm.map(".bss")?.update(&[0; 4], &section, 0)?)
    };
    set(NUMBER)?;
    wasm.attach()?;
    let sent = |wasm: &Wasm| {
        Ok::<_, anyhow::Error>(counters(&wasm.section(".bss")?)[SETTINGS + 14..][..2].to_vec())
    };
    for turn in 1..=20 {
        syscalls::getpgrp(1);
        ensure!(
            ARRIVED.load(Ordering::Relaxed) == turn,
            "not arrived after call {turn}"
        );
        // The second finds the first still on its way, as natively where interrupts are off.
        let errno = -libc::EBUSY as i64 as u64;
        ensure!(sent(&wasm)? == [0, errno], "{:x?}", sent(&wasm)?);
    }
    wasm.detach();
    let mut section = wasm.section(".bss")?;
    section[SIGNAL].copy_from_slice(&65u32.to_ne_bytes());
    wasm.map(".bss")?.update(&[0; 4], &section, 0)?;
    wasm.attach()?;
    syscalls::getpgrp(1);
    let errno = -libc::EINVAL as i64 as u64;
    ensure!(sent(&wasm)? == [errno, errno], "{:x?}", sent(&wasm)?);
    Ok(())
}

fn clocks() -> Result<()> {
    let (native, wasm) = load()?;
    for _ in 0..50 {
        syscalls::getppid();
        let [native, wasm] = [native.section(".bss")?, wasm.section(".bss")?].map(|b| counters(&b));
        let apart = |at: usize| native[SETTINGS + at].abs_diff(wasm[SETTINGS + at]);
        // Both ran in one and the same call; a busy host gives its guest the ticks late, many at once.
        ensure!(apart(16) < 50_000_000, "ktime {} apart", apart(16));
        ensure!(
            native[SETTINGS + 17] > 0 && apart(17) <= 1000,
            "jiffies {} apart",
            apart(17)
        );
    }
    Ok(())
}

/// A child that calls getpgrp(2) so often, and ends.
fn child(calls: u64) -> Result<()> {
    // SAFETY: the child makes system calls only, so no lock or buffer of the parent matters.
    match unsafe { libc::syscall(libc::SYS_fork) } {
        0 => {
            syscalls::getpgrp(calls);
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(0) }
        }
        pid => {
            ensure!(pid > 0, "fork: {}", std::io::Error::last_os_error());
            // SAFETY: waits for the child just made; a null status is allowed.
            unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), 0) };
            Ok(())
        }
    }
}

fn storage() -> Result<()> {
    const CHILDREN: u64 = 200;
    let device = guest::device()?;
    let object = corpus::object("storage")?;
    let programs = ["getpgrp_entry", "getppid_entry"];
    let mut native = Native::load(object, "storage", &programs)?;
    let mut wasm = Wasm::load(&device, object, "storage", &programs)?;
    native.attach()?;
    wasm.attach()?;
    on_every_cpu(|cpu| {
        syscalls::getppid();
        for turn in 0..20 {
            syscalls::getpgrp(turn + cpu as u64);
            if turn % 7 == 3 {
                syscalls::getppid();
            }
        }
        Ok(())
    })?;
    for calls in 0..CHILDREN {
        child(calls % 5)?;
    }
    for map in ["seen", "deleted"] {
        let [native, wasm] = [native.dump(map)?, wasm.dump(map)?];
        if let Some(difference) = difference(&native, &wasm) {
            anyhow::bail!("{map}: {difference}");
        }
        println!("{map}: {} tasks", native.len());
        ensure!(native.len() > 1, "{map}: {native:?}");
    }
    ensure!(
        native.dump("seen")?.len() as u64 > CHILDREN / 2,
        "too few tasks"
    );
    Ok(())
}

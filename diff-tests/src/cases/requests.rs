//! Requests do not wait for what a process decides, and who closes a descriptor waits for nobody.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use abi::map_types::MapType;
use abi::uapi::{self, Kind, LinkCreate, MapElement, ModuleLoad};
use anyhow::{Context, Result, ensure};
use loader::device::{Device, Object, PerfRing};

use super::Case;
use super::plain::{self, Plain};
use crate::guest;
use crate::workload::{Stay, syscalls};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("requests::a_page_that_never_comes_holds_up_nobody", never),
    ("requests::a_closed_link_has_run_for_the_last_time", closed),
    (
        "requests::sandboxes_do_not_wait_for_each_others_loads",
        loads,
    ),
    ("requests::rings_are_closed_at_once", rings),
    ("requests::large_values_leave_the_cpu_to_others", large),
];

/// Bytes of a page.
const PAGE: usize = 4096;

/// A child process, which is killed in the end.
struct Child(libc::pid_t);

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: a child that nobody has waited for.
        let ended = unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0)
        };
        assert_eq!(ended, self.0, "the child can be killed");
    }
}

/// `struct uffdio_api`.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFD_API: u64 = 0xaa;
/// `UFFDIO_REGISTER_MODE_MISSING`.
const MISSING: u64 = 1;

/// A page of this process that never comes: whoever touches it waits for ever. 0 if that cannot be had.
fn page_that_never_comes() -> u64 {
    // SAFETY: the page is new and nobody else's; the structs are what the calls expect, and live as long.
    unsafe {
        let fd = libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) as i32;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let page = libc::mmap(std::ptr::null_mut(), PAGE, both, flags, -1, 0);
        let mut api = Api {
            api: UFFD_API,
            features: 0,
            ioctls: 0,
        };
        let mut register = Register {
            start: page as u64,
            len: PAGE as u64,
            mode: MISSING,
            ioctls: 0,
        };
        let done = fd >= 0
            && page != libc::MAP_FAILED
            && libc::ioctl(fd, UFFDIO_API as _, &raw mut api) == 0
            && libc::ioctl(fd, UFFDIO_REGISTER as _, &raw mut register) == 0;
        if done { page as u64 } else { 0 }
    }
}

/// A child that makes the request `number` on `fd` with what `argument` puts into its buffer for the page that never comes; without
/// anything, the struct itself lies there.
fn stuck(fd: i32, number: u32, argument: impl Fn(u64, &mut [u8; 1024]) -> bool) -> Result<Child> {
    // SAFETY: the child makes system calls only, and ends.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().into()),
        0 => {
            let page = page_that_never_comes();
            let mut buffer = [0; 1024];
            let address = match argument(page, &mut buffer) {
                true => buffer.as_ptr() as u64,
                false => page,
            };
            // SAFETY: as above; the kernel copies from and to memory of this child's own.
            unsafe {
                if page != 0 {
                    libc::ioctl(fd, number as _, address);
                }
                // Only who did not wait comes here.
                libc::_exit(1)
            }
        }
        child => Ok(Child(child)),
    }
}

/// Asks for a module of `wasm_size` bytes at `wasm`; why not, is to be written to `log`.
fn module_of(wasm: u64, wasm_size: u64, log: u64) -> ModuleLoad {
    // SAFETY: integers and arrays of them are valid when zero.
    let mut module: ModuleLoad = unsafe { std::mem::zeroed() };
    module.wasm = wasm;
    module.wasm_size = wasm_size;
    module.log = log;
    module.log_size = 100;
    module
}

/// Asks for a link of no program; why not, is to be written to `log`.
fn link_of(log: u64) -> LinkCreate {
    // SAFETY: integers and arrays of them are valid when zero.
    let mut link: LinkCreate = unsafe { std::mem::zeroed() };
    link.attach = 1;
    link.log = log;
    link.log_size = 100;
    link
}

/// Puts a struct of the interface into a buffer.
fn put<T>(buffer: &mut [u8; 1024], value: T) -> bool {
    assert!(size_of::<T>() <= buffer.len());
    // SAFETY: it fits; a buffer of bytes takes anything.
    unsafe { buffer.as_mut_ptr().cast::<T>().write_unaligned(value) };
    true
}

/// Every request, each of a child that waits for a page: with its struct there, or what its struct points to.
fn waiting(device: &Device, plain: &Plain, wasm: &[u8]) -> Result<Vec<(&'static str, Child)>> {
    let key = [1u8; 8];
    let element = |page| MapElement {
        key: key.as_ptr() as u64,
        value: page,
        flags: 0,
    };
    let (of_sandbox, of_module) = (
        plain.sandbox.fd().as_raw_fd(),
        plain.module.fd().as_raw_fd(),
    );
    let of_map = plain.map.fd().as_raw_fd();
    let mut children = Vec::new();
    // Every request's struct, on whichever descriptor of ours takes it.
    for ioctl in uapi::IOCTLS
        .iter()
        .filter(|ioctl| !ioctl.argument.is_empty())
    {
        let fd = match ioctl.descriptor {
            "device" => device.as_fd().as_raw_fd(),
            "sandbox" => of_sandbox,
            "module" => of_module,
            "map" => of_map,
            _ => plain.link.fd().as_raw_fd(),
        };
        children.push((ioctl.name, stuck(fd, ioctl.number, |_, _| false)?));
    }
    // What structs point to.
    let value = |page, buffer: &mut _| put(buffer, element(page));
    children.push(("a value in", stuck(of_map, uapi::MAP_UPDATE, value)?));
    children.push(("a value out", stuck(of_map, uapi::MAP_LOOKUP, value)?));
    let bytes = |page, buffer: &mut _| put(buffer, module_of(page, 8, 0));
    children.push(("wasm", stuck(of_sandbox, uapi::MODULE_LOAD, bytes)?));
    let cut = (wasm.as_ptr() as u64, wasm.len() as u64 - 1);
    let refusal = |page, buffer: &mut _| put(buffer, module_of(cut.0, cut.1, page));
    children.push(("a log", stuck(of_sandbox, uapi::MODULE_LOAD, refusal)?));
    let refusal = |page, buffer: &mut _| put(buffer, link_of(page));
    children.push((
        "a link's log",
        stuck(of_module, uapi::LINK_CREATE, refusal)?,
    ));
    Ok(children)
}

fn never() -> Result<()> {
    let device = guest::device()?;
    let plain = Plain::new(&device)?;
    plain.map.update(&[1; 8], &[2; 8], 0)?;
    let wasm = plain::wasm();
    let children = waiting(&device, &plain, &wasm)?;
    thread::sleep(Duration::from_millis(300));
    for (what, child) in &children {
        // SAFETY: looks at a child of ours, and leaves it as it is.
        let ended = unsafe { libc::waitpid(child.0, std::ptr::null_mut(), libc::WNOHANG) };
        ensure!(ended == 0, "{what}: did not wait");
    }
    // Others go on, in the same sandbox as well, and exit.
    let before = Instant::now();
    let other = Plain::new(&device)?;
    drop(plain::load(&plain.sandbox, &wasm)?);
    drop(plain.module.attach(&plain::kprobe())?);
    drop(plain::create(&plain.sandbox, MapType::Array, (4, 8, 1))?);
    drop(other);
    device.flush()?;
    guest::succeed(
        Command::new("timeout")
            .arg("20")
            .arg(guest::wprobe()?)
            .arg("list"),
    )?;
    ensure!(
        before.elapsed() < Duration::from_secs(20),
        "{:?}",
        before.elapsed()
    );
    println!("{} processes waited for a page", children.len());
    Ok(())
}

/// While others look at the link, and may be the last to have it in hand.
fn closed() -> Result<()> {
    let device = guest::device()?;
    let plain = Plain::new(&device)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    // Whatever there is at that moment.
                    let _ = plain.module.info();
                    let _ = plain.module.programs();
                    let ids = device.ids(Kind::Link).unwrap_or_default();
                    for id in ids {
                        let _ = device.link(id).map(|link| link.info());
                    }
                }
            });
        }
        let result = (0..30).try_for_each(|round| {
            let link = plain.module.attach(&plain::kprobe())?;
            let (before, at_first) = (plain.runs()?, plain.module.info()?.links);
            syscalls::getpgrp(10);
            ensure!(
                plain.runs()? >= before + 20,
                "round {round}: it does not run"
            );
            ensure!(at_first >= 2, "round {round}: {at_first} links");
            drop(link);
            Ok(())
        });
        stop.store(true, Relaxed);
        result
    })?;
    // Nobody looks any more.
    let runs = |times| {
        let before = plain.runs()?;
        syscalls::getpgrp(times);
        Ok::<_, anyhow::Error>(plain.runs()? - before)
    };
    let link = plain.module.attach(&plain::kprobe())?;
    ensure!(runs(10)? == 20);
    drop(link);
    ensure!(runs(10)? == 10, "it runs after it was closed");
    Ok(())
}

/// A module that takes a while, and a small one.
fn loads() -> Result<()> {
    const FUNCTIONS: usize = 8000;
    let body = "(i64.add (local.get 0) (i64.const 1)) local.set 0 ".repeat(20);
    let function = format!("(func (param i64) (result i64) {body} local.get 0)");
    let large = plain::of(&function.repeat(FUNCTIONS));
    let device = guest::device()?;
    let [first, second] =
        ["first", "second"].map(|name| device.create_sandbox(name, plain::MEMORY));
    let (first, second) = (first?, second?);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let loaded = plain::load(&first, &large);
            done.store(true, Relaxed);
            loaded
        });
        let mut meanwhile = 0;
        while !done.load(Relaxed) {
            plain::load(&second, &plain::wasm())
                .map(drop)
                .or_else(|error| {
                    // A sandbox takes so many only.
                    if meanwhile < 10 { Err(error) } else { Ok(()) }
                })?;
            device.about()?;
            meanwhile += 1;
        }
        let loaded = thread.join().ok().context("the thread")?;
        loaded.context("the large one")?;
        ensure!(
            meanwhile > 3,
            "{meanwhile} small ones while a large one was loaded"
        );
        println!("{} bytes, {meanwhile} small ones meanwhile", large.len());
        Ok(())
    })
}

fn rings() -> Result<()> {
    const RINGS: u32 = 64;
    let device = guest::device()?;
    let plain = Plain::new(&device)?;
    let open = || {
        let rings = (0..RINGS).map(|index| PerfRing::open_at(&plain.events, index, 0, 1));
        rings.collect::<loader::device::Result<Vec<_>>>()
    };
    let rings = open()?;
    let before = Instant::now();
    drop(rings);
    let took = before.elapsed();
    // Each waited for runs by itself: 20 ms or so.
    ensure!(
        took < Duration::from_millis(RINGS as u64 * 4),
        "{took:?} for {RINGS} rings"
    );
    // Their places are free again, and so, if it is needed, is their memory.
    drop(open()?);
    println!("{took:?} for {RINGS} rings");
    Ok(())
}

/// Another thread on the same CPU goes on while a large value is copied.
fn large() -> Result<()> {
    const SIZE: u32 = 96 << 20;
    let device = guest::device()?;
    let sandbox = device.create_sandbox("large", u64::from(SIZE) + (1 << 20))?;
    let map = plain::create(&sandbox, MapType::Array, (4, SIZE, 1))?;
    let value = vec![7; SIZE as usize];
    let _stay = Stay::here()?;
    let stop = AtomicBool::new(false);
    let (took, gap) = thread::scope(|scope| {
        // It stays where its maker does.
        let ticks = scope.spawn(|| {
            let (mut last, mut gap) = (Instant::now(), Duration::ZERO);
            while !stop.load(Relaxed) {
                thread::sleep(Duration::from_millis(1));
                gap = gap.max(last.elapsed());
                last = Instant::now();
            }
            gap
        });
        let before = Instant::now();
        let result = map
            .update(&[0; 4], &value, 0)
            .and_then(|()| map.lookup(&[0; 4], 1));
        let took = before.elapsed();
        stop.store(true, Relaxed);
        let gap = ticks.join().ok().context("the thread")?;
        ensure!(result?.as_deref() == Some(&value[..]), "another value");
        Ok::<_, anyhow::Error>((took, gap))
    })?;
    println!("{took:?} for two copies of {SIZE} bytes, the CPU was away for {gap:?}");
    ensure!(gap < took / 3, "{gap:?} of {took:?} nothing else ran");
    Ok(())
}

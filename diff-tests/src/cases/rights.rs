//! A descriptor that was handed on does no more than its user may: each request asks for what the interface says.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::thread;

use abi::uapi::{self, Ioctl, Kind, Needs};
use anyhow::{Result, ensure};
use loader::device::{Device, Object, PerfRing};

use super::Case;
use super::plain::{self, Plain};
use crate::guest;

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("rights::each_request_asks_for_its_own", each),
    ("rights::who_has_none_reads_and_nothing_else", none),
];

/// The last test of all: nothing can be attached, nor the device opened, until the next boot.
pub const LOCKDOWN: Case = ("rights::lockdown_is_asked_for_each_time", lockdown);

/// Where the kernel is locked down.
const LOCKED: &str = "/sys/kernel/security/lockdown";

/// `struct __user_cap_header_struct`: the third version, this thread.
const THIS_THREAD: [u32; 2] = [0x2008_0522, 0];

/// `CAP_PERFMON` and `CAP_BPF`: what tracing needs.
pub(super) const TRACING: &[u32] = &[38, 39];

/// What `work` gives in a thread, which has rights of its own, without any.
fn without_rights<R: Send>(work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    with_rights(&[], work)
}

/// What `work` gives in a thread with no other capabilities than `rights`.
pub(super) fn with_rights<R: Send>(
    rights: &[u32],
    work: impl FnOnce() -> Result<R> + Send,
) -> Result<R> {
    // Twice effective, permitted, inheritable: the lower half, the upper half.
    let mut sets = [0u32; 6];
    for right in rights {
        let half = 3 * (right / 32) as usize;
        sets[half] |= 1 << (right % 32);
        sets[half + 1] |= 1 << (right % 32);
    }
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the call reads the header and the sets, and changes this thread alone, which ends here.
            let done =
                unsafe { libc::syscall(libc::SYS_capset, THIS_THREAD.as_ptr(), sets.as_ptr()) };
            ensure!(done == 0, "capset: {}", io::Error::last_os_error());
            work()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Every request, without an argument, on the descriptor it is for: by those with the right it is read, and faults; by others refused.
fn each() -> Result<()> {
    let device = guest::device()?;
    let plain = Plain::new(&device)?;
    let answers = |ioctl: &Ioctl| {
        let descriptors = descriptors(&device, &plain, ioctl.descriptor);
        let answers = descriptors
            .iter()
            .map(|fd| plain::request(fd, ioctl.number, 0));
        answers.collect::<Vec<_>>()
    };
    let mut refused = 0;
    for ioctl in uapi::IOCTLS {
        let fitting = answers(ioctl);
        ensure!(
            !fitting.contains(&libc::EPERM) && !fitting.contains(&libc::ENOTTY),
            "{}: {fitting:?} with all rights",
            ioctl.name
        );
        let lacking = without_rights(|| Ok(answers(ioctl)))?;
        let expected = match ioctl.needs {
            Needs::Nothing => lacking == fitting,
            Needs::Tracing => lacking.iter().all(|errno| *errno == libc::EPERM),
        };
        ensure!(expected, "{}: {lacking:?} without rights", ioctl.name);
        refused += u32::from(ioctl.needs == Needs::Tracing);
    }
    println!(
        "{refused} of {} requests ask for rights",
        uapi::IOCTLS.len()
    );
    Ok(())
}

/// The descriptors that a request is for.
fn descriptors<'p>(device: &'p Device, plain: &'p Plain, name: &str) -> Vec<BorrowedFd<'p>> {
    match name {
        "device" => vec![device.as_fd()],
        "sandbox" => vec![plain.sandbox.fd()],
        "map" => vec![plain.map.fd()],
        "module" => vec![plain.module.fd()],
        "link" => vec![plain.link.fd()],
        // Pinned and unpinned by the rows that follow one another.
        "any object" => vec![
            plain.sandbox.fd(),
            plain.map.fd(),
            plain.module.fd(),
            plain.link.fd(),
        ],
        other => panic!("{other}: no descriptor is known by that name"),
    }
}

/// With proper arguments, in words; and reading goes on.
fn none() -> Result<()> {
    let device = guest::device()?;
    let plain = Plain::new(&device)?;
    let timing = device.time_runs()?;
    plain.map.update(&[1; 8], &[2; 8], 0)?;
    without_rights(|| {
        let refusals = [
            device.create_sandbox("another", plain::MEMORY).err(),
            device.ids(Kind::Module).err(),
            device.time_runs().err(),
            plain::create(&plain.sandbox, abi::map_types::MapType::Hash, (8, 8, 16)).err(),
            plain::load(&plain.sandbox, &plain::wasm()).err(),
            plain.module.attach(&plain::kprobe()).err(),
            PerfRing::open(&plain.events, 0, 1).err(),
            plain.link.pin().err(),
            timing.pin().err(),
        ];
        for (at, refusal) in refusals.iter().enumerate() {
            let words = refusal.as_ref().map(ToString::to_string);
            let words = words.unwrap_or_else(|| "not refused".to_owned());
            ensure!(words.contains("CAP_PERFMON"), "refusal {at}: {words}");
        }
        ensure!(device.about()?.cpus > 0);
        ensure!(plain.sandbox.info()?.maps == 2);
        ensure!(plain.link.info()?.module == plain.module.info()?.id);
        ensure!(plain.module.programs()?.len() == 1);
        ensure!(plain.module.wasm()? == plain::wasm());
        ensure!(plain.map.lookup(&[1; 8], 1)? == Some(vec![2; 8]));
        ensure!(plain.map.next_key(None)? == Some(vec![1; 8]));
        Ok(())
    })
}

/// With descriptors from before the kernel was locked down.
fn lockdown() -> Result<()> {
    let device = guest::device()?;
    let plain = Plain::new(&device)?;
    let run = |command: &mut Command| guest::succeed(command).map(drop);
    if fs::metadata(LOCKED).is_err() {
        run(Command::new("mount").args(["-t", "securityfs", "none", "/sys/kernel/security"]))?;
    }
    fs::write(LOCKED, "confidentiality")?;
    let attached = plain.module.attach(&plain::kprobe()).err();
    let made = device.create_sandbox("another", plain::MEMORY).err();
    for refusal in [attached, made] {
        let errno = refusal.as_ref().and_then(loader::device::Error::errno);
        ensure!(errno == Some(libc::EPERM), "{refusal:?}");
    }
    ensure!(Device::open().is_err(), "the device can be opened");
    ensure!(plain.map.next_key(None)?.is_none(), "reading goes on");
    drop(plain);
    device.flush()?;
    let about = device.about()?;
    ensure!(about.allocations == about.frees, "{about:?}");
    Ok(())
}

/// Whether [`lockdown`] has been there.
pub fn is_locked_down() -> bool {
    fs::read_to_string(LOCKED).is_ok_and(|text| text.contains("[confidentiality]"))
}

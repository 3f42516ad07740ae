//! Requests to the device as nobody means them: on whichever descriptor, with structs that are right, nearly right, or anything,
//! while other threads close, map and read the same descriptors. It ends when it is killed.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Mutex;
use std::thread;

use abi::map_types::MapType;
use abi::uapi::{self, AttachPoint, Ioctl};
use anyhow::Result;
use loader::device::Device;

use super::syscalls;
use crate::hostile::{MAKERS, PROGRAM, rig};
use crate::random::Random;

/// Threads of a process.
const THREADS: u64 = 3;
/// Descriptors that it has at most.
const DESCRIPTORS: usize = 48;
/// Bytes of the largest struct that an ioctl's number can tell of.
const LARGEST: usize = 1 << 14;

/// Places that links may go to, with what they are given.
const PLACES: &[(AttachPoint, &str, u32)] = &[
    (AttachPoint::Kprobe, "__x64_sys_getpgrp", 168),
    (AttachPoint::Kretprobe, "__x64_sys_getpgrp", 168),
    (AttachPoint::KprobeSession, "__x64_sys_getpgrp", 168),
    (AttachPoint::SyscallPre, "__x64_sys_getpgrp", 0),
    (AttachPoint::RawTracepoint, "sys_enter", 16),
    (AttachPoint::RawTracepoint, "sched_switch", 16),
    (AttachPoint::Tracepoint, "syscalls/sys_enter_getppid", 64),
    (AttachPoint::Tracepoint, "sched/sched_switch", 64),
    (AttachPoint::Fentry, "vfs_read", 32),
    (AttachPoint::Fexit, "vfs_read", 40),
    (AttachPoint::PerfEvent, "", 168),
    (AttachPoint::Uprobe, "/bin/busybox", 168),
    (AttachPoint::Uretprobe, "/bin/busybox", 168),
];

/// Memory that structs point to. Threads and the kernel write it at the same time, which spoils nothing but itself.
struct Scratch(*mut u8);

// SAFETY: it is only handed to the kernel.
unsafe impl Sync for Scratch {}

/// Bytes of it: as much as the longest value.
const SCRATCH: usize = 1 << 20;

/// Makes requests until it is killed.
pub fn run(seed: u64) -> Result<()> {
    let device = Device::open()?;
    // SAFETY: new memory, and nobody else's.
    let scratch = unsafe {
        let both = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        libc::mmap(std::ptr::null_mut(), SCRATCH, both, flags, -1, 0)
    };
    let scratch = Scratch(scratch.cast());
    let descriptors = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (device, scratch, descriptors) = (&device, &scratch, &descriptors);
            scope.spawn(move || {
                let mut fuzzer = Fuzzer {
                    random: Random(seed ^ thread << 32),
                    device: device.as_fd().as_raw_fd(),
                    scratch,
                    descriptors,
                };
                loop {
                    fuzzer.step();
                }
            });
        }
    });
    Ok(())
}

struct Fuzzer<'f> {
    random: Random,
    device: RawFd,
    scratch: &'f Scratch,
    descriptors: &'f Mutex<Vec<RawFd>>,
}

impl Fuzzer<'_> {
    /// Does anything.
    fn step(&mut self) {
        match self.random.below(16) {
            0 => self.close(),
            1 => self.map(),
            2 => self.read(),
            3 => syscalls::getpgrp(2),
            _ => self.request(),
        }
    }

    fn any(&mut self) -> RawFd {
        let all = self.descriptors.lock().expect("no thread panics");
        match self.random.below(4) {
            0 => self.device,
            _ => self.random.pick_of(&all).copied().unwrap_or(self.device),
        }
    }

    /// Keeps a descriptor, in place of another if there are many.
    fn keep(&mut self, fd: RawFd) {
        let mut all = self.descriptors.lock().expect("no thread panics");
        all.push(fd);
        if all.len() > DESCRIPTORS {
            let at = self.random.below(all.len());
            let other = all.swap_remove(at);
            // SAFETY: opened here; whoever uses it at the moment gets an error.
            unsafe { libc::close(other) };
        }
    }

    fn close(&mut self) {
        let mut all = self.descriptors.lock().expect("no thread panics");
        if !all.is_empty() {
            let at = self.random.below(all.len());
            let fd = all.swap_remove(at);
            drop(all);
            // SAFETY: as above.
            unsafe { libc::close(fd) };
        }
    }

    fn map(&mut self) {
        let fd = self.any();
        let pages = self.random.below(8) + 1;
        let offset = self.random.below(4) * 4096;
        let access = self.random.below(4) as i32;
        let flags = self.random.pick(&[libc::MAP_SHARED, libc::MAP_PRIVATE]);
        let size = pages * 4096;
        // SAFETY: new pages, which nobody else knows of, are looked at once and unmapped.
        unsafe {
            let none = std::ptr::null_mut();
            let pages = libc::mmap(none, size, access, flags, fd, offset as libc::off_t);
            if pages != libc::MAP_FAILED {
                if access & libc::PROT_WRITE != 0 && access & libc::PROT_READ != 0 {
                    let at = self.random.below(size / 8);
                    pages
                        .cast::<u64>()
                        .add(at)
                        .write_volatile(self.random.word());
                }
                libc::munmap(pages, size);
            }
        }
    }

    fn read(&mut self) {
        let fd = self.any();
        let size = self.random.below(SCRATCH);
        // SAFETY: the scratch memory has so many bytes.
        unsafe {
            libc::read(fd, self.scratch.0.cast(), size);
            let events = libc::POLLIN;
            let mut poll = libc::pollfd {
                fd,
                events,
                revents: 0,
            };
            libc::poll(&raw mut poll, 1, 0);
        }
    }

    fn request(&mut self) {
        let ioctl = &uapi::IOCTLS[self.random.below(uapi::IOCTLS.len())];
        let fd = match self.random.below(8) {
            0..5 if ioctl.descriptor == "device" => self.device,
            _ => self.any(),
        };
        let mut argument = vec![0; LARGEST];
        self.fill(ioctl, &mut argument);
        let size = (ioctl.number >> 16 & 0x3fff) as usize;
        self.spoil(&mut argument[..size.max(8)]);
        let number = match self.random.below(20) {
            0 => ioctl.number ^ 1 << self.random.below(32),
            // Of another size.
            1 => ioctl.number ^ (self.random.word() as u32 & 0x3fff) << 16,
            _ => ioctl.number,
        };
        let address = match self.random.below(50) {
            0 => self.random.word(),
            _ => argument.as_mut_ptr() as u64,
        };
        // SAFETY: what is behind the address is this thread's, scratch, or nothing: numbers at random lead into no mapping of
        // this process but by a chance of one in billions, and then spoil a process that is about to be killed.
        let result = unsafe { libc::ioctl(fd, number as _, address) };
        if result > 2 {
            self.keep(result);
        }
    }

    /// Makes a struct nearly right, or anything.
    fn spoil(&mut self, argument: &mut [u8]) {
        match self.random.below(10) {
            0 => {
                let bytes = self.random.bytes(argument.len());
                argument.copy_from_slice(&bytes);
            }
            1..4 => {
                let at = self.random.below(argument.len() / 4) * 4;
                let edge = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 4096, 8];
                let word = match self.random.below(2) {
                    0 => self.random.pick(&edge),
                    _ => self.random.word() as u32,
                };
                argument[at..at + 4].copy_from_slice(&word.to_ne_bytes());
            }
            _ => {}
        }
    }

    /// Fills in what the request expects.
    fn fill(&mut self, ioctl: &Ioctl, argument: &mut [u8]) {
        let pointer = self.scratch.0 as u64;
        let put = Put { argument, at: 0 };
        match ioctl.argument {
            "SandboxCreate" => put.name(uapi::NAME_SIZE, "fuzz").long(self.memory()),
            "NextId" | "OpenId" => put
                .int(self.random.below(7) as u32 + 1)
                .int(self.random.below(200) as u32),
            "Limit" => put.int(self.random.below(10) as u32),
            "MapCreate" => self.map_create(put),
            "ModuleLoad" => {
                let wasm = self.module();
                let place = self.random.below(8) * 4096;
                // SAFETY: inside the scratch memory, which is written by all alike.
                unsafe {
                    let to = self.scratch.0.add(place);
                    to.copy_from_nonoverlapping(wasm.as_ptr(), wasm.len().min(4 * 4096));
                }
                put.name(uapi::NAME_SIZE, "fuzz")
                    .long(pointer + place as u64)
                    .long(wasm.len() as u64)
                    .int(self.random.below(3) as u32)
            }
            "LinkCreate" => self.link_create(put),
            "MapElement" => put.long(pointer).long(pointer + 4096).long(0),
            "RingOpen" => put
                .int(self.random.below(3) as u32)
                .int(self.random.below(3) as u32)
                .int(1 << self.random.below(4)),
            "Report" => put.long(pointer).long(256),
            _ => put,
        };
    }

    /// Bytes of a sandbox's memory.
    fn memory(&mut self) -> u64 {
        self.random.pick(&[0, 1 << 20, 1 << 20, 4 << 20])
    }

    fn module(&mut self) -> Vec<u8> {
        let maker = self.random.pick(MAKERS).1;
        rig::with_handles(maker(self.random.word()))
    }

    fn map_create<'p>(&mut self, put: Put<'p>) -> Put<'p> {
        let kind = self.random.pick(rig::MAPS);
        let (map_type, key_size, value_size, max_entries, flags) = kind;
        let of_maps = matches!(map_type, MapType::ArrayOfMaps | MapType::HashOfMaps);
        let put = put
            .name(uapi::NAME_SIZE, MapType::name(map_type))
            .int(map_type as u32)
            .int(key_size)
            .int(value_size)
            .int(max_entries)
            .int(flags);
        match of_maps {
            // An array of 8 values of 16 bytes.
            true => put.int(2).long(0).long(0).int(4).int(16).int(8),
            false => put,
        }
    }

    fn link_create<'p>(&mut self, put: Put<'p>) -> Put<'p> {
        let (attach, target, context) = self.random.pick(PLACES);
        let put = put
            .name(uapi::TARGET_SIZE, PROGRAM)
            .name(uapi::TARGET_SIZE, target)
            .int(attach as u32)
            .int(context);
        let offset = match attach {
            AttachPoint::Uprobe | AttachPoint::Uretprobe => 0x1000,
            _ => 0,
        };
        let args = match attach {
            AttachPoint::RawTracepoint | AttachPoint::Fentry | AttachPoint::Fexit => 0x0808,
            _ => 0,
        };
        let put = put.long(offset).long(0).long(args).long(0);
        match attach {
            AttachPoint::PerfEvent => put.long(0).int(0).int(1).long(0).long(99),
            _ => put,
        }
    }
}

/// Fields of a struct, one after the other.
struct Put<'p> {
    argument: &'p mut [u8],
    at: usize,
}

impl Put<'_> {
    fn bytes(self, bytes: &[u8], size: usize) -> Self {
        self.argument[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        Put {
            at: self.at + size,
            argument: self.argument,
        }
    }

    fn int(self, value: u32) -> Self {
        self.bytes(&value.to_ne_bytes(), 4)
    }

    fn long(self, value: u64) -> Self {
        self.bytes(&value.to_ne_bytes(), 8)
    }

    fn name(self, size: usize, name: &str) -> Self {
        let name = CString::new(name).expect("no NUL in it");
        self.bytes(name.as_bytes_with_nul(), size)
    }
}

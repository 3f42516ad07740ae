//! Images of which bytes are others, by chance: each is refused, or harmless. Harmless is what is seen in a child process: all that the code
//! may touch is mapped, with nothing around it that is, and what it may not write is not writable.
//!
//! `MUTATED_IMAGES=N` tries more than the 100,000.

mod asm;
mod honest;
mod made_up;

use std::arch::global_asm;
use std::collections::BTreeMap;
use std::mem::offset_of;
use std::ptr;

use abi::layout;
use abi::native::{IMPORTS, Image, RETURN, STACK, TRAP, Vm, displacement};
use honest::compiled;
use made_up::{Random, module};

const MEMORY: usize = 0x1_0000;
/// On either side of what is mapped there is nothing, as far as an index of 32 bits reaches.
const AROUND: usize = 5 << 30;
const PAGE: usize = 4096;
const CODE: usize = 1 << 20;
const STUB: usize = 32;
/// What is left on the stack beside its limit: a frame, what is saved around a call, and the way out.
const ROOM: usize = STACK as usize + 2 * PAGE;
/// Written around what the code may touch.
const CANARY: u64 = 0x5afe_5afe_5afe_5afe;

global_asm!(
    // u64 run(vm, function, argument, stack): on a stack of its own; what the code leaves in registers is forgotten.
    "checked_run:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rdi + {resume}], rsp",
    "mov rsp, rcx",
    "mov rax, rsi",
    "mov rsi, rdx",
    "push rdi",
    "push rdi",
    "call rax",
    "pop rdi",
    "checked_leave:",
    "mov rsp, [rdi + {resume}]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    "checked_return:",
    "mov rax, rdi",
    "ret",
    // An import: nothing of what a callee may change stays as it was, and a little of the budget is gone.
    "checked_import:",
    "sub qword ptr [rdi + {fuel}], 16",
    "jb checked_leave",
    "movabs rax, 0x5742d00000000100",
    "mov rcx, -1",
    "mov rdx, rcx",
    "mov rsi, rcx",
    "mov rdi, rcx",
    "mov r8, rcx",
    "mov r9, rcx",
    "mov r10, rcx",
    "mov r11, rcx",
    "ret",
    resume = const offset_of!(Vm, resume),
    fuel = const offset_of!(Vm, fuel),
);

unsafe extern "sysv64" {
    fn checked_run(vm: *mut Vm, function: u64, argument: u64, stack: u64) -> u64;
    fn checked_leave();
    fn checked_return();
    fn checked_import();
}

/// What code runs in: text, memory, the vm, a stack, each with nothing around it.
struct Yard {
    text: *mut u8,
    memory: *mut u8,
    vm: *mut Vm,
    /// The lowest byte.
    stack: *mut u8,
}

fn map(size: usize) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new mappings; they touch nothing that is there.
    unsafe {
        let whole = libc::mmap(
            ptr::null_mut(),
            size + 2 * AROUND,
            libc::PROT_NONE,
            flags,
            -1,
            0,
        );
        assert_ne!(whole, libc::MAP_FAILED);
        let inner = whole.cast::<u8>().add(AROUND);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        assert_eq!(libc::mprotect(inner.cast(), size, protection), 0);
        inner
    }
}

impl Yard {
    fn new() -> Self {
        Self {
            text: map(CODE),
            memory: map(MEMORY),
            // At the end of a page, so that what is behind its last field is not there; canaries before it.
            vm: map(PAGE).wrapping_add(PAGE - size_of::<Vm>()).cast(),
            stack: map(ROOM),
        }
    }

    /// Runs each program of `image`; what is wrong afterwards.
    fn run(&self, image: &Image<'_>) -> Option<&'static str> {
        // SAFETY: all of the yard is ours, and mapped.
        unsafe {
            self.place(image);
            let page = self
                .vm
                .cast::<u8>()
                .add(size_of::<Vm>())
                .sub(PAGE)
                .cast::<u64>();
            let before = (PAGE - size_of::<Vm>()) / 8;
            let base = u64::from(layout::stack_base(0));
            for program in image.programs() {
                for at in 0..before {
                    page.add(at).write(CANARY);
                }
                let vm = Vm {
                    memory: self.memory as u64,
                    stack: self.memory as u64 + base,
                    stack_base: base,
                    cpu: 0,
                    fuel: 3000,
                    stack_limit: self.stack as u64 + 2 * PAGE as u64,
                    resume: 0,
                };
                self.vm.write(vm);
                let argument = layout::guest_ptr(layout::context_base(0));
                let top = self.stack as u64 + ROOM as u64;
                let entry = self.text as u64 + u64::from(program.entry);
                // What the kernel left there is not to be seen again.
                self.stack.write_bytes(0xa5, ROOM);
                checked_run(self.vm, entry, argument, top);
                let after = self.vm.read();
                if (after.memory, after.stack, after.stack_limit)
                    != (vm.memory, vm.stack, vm.stack_limit)
                {
                    return Some("the vm is another");
                }
                if (0..before).any(|at| page.add(at).read() != CANARY) {
                    return Some("something before the vm was written");
                }
                if after.fuel > vm.fuel && after.fuel < u64::MAX - 1000 {
                    return Some("the budget grew");
                }
            }
        }
        None
    }

    /// # Safety
    ///
    /// Nothing runs in it.
    unsafe fn place(&self, image: &Image<'_>) {
        let mut code = image.text.to_vec();
        let base = self.text as u64;
        code.resize(code.len().next_multiple_of(STUB), 0xcc);
        let stubs = base + code.len() as u64;
        for (at, callee) in image.calls() {
            let to = stubs + u64::from(callee.min(IMPORTS)) * STUB as u64;
            let by = displacement(base + u64::from(at), to).expect("near");
            code[at as usize..at as usize + 4].copy_from_slice(&by);
        }
        for callee in [TRAP, RETURN, IMPORTS] {
            let target = match callee {
                TRAP => checked_leave as *const () as u64,
                RETURN => checked_return as *const () as u64,
                _ => checked_import as *const () as u64,
            };
            code.extend([0x48, 0xb8]);
            code.extend(target.to_le_bytes());
            code.extend([0xff, 0xe0]);
            code.resize(code.len().next_multiple_of(STUB), 0xcc);
        }
        // SAFETY: the caller's promise; it fits, for texts here are short.
        unsafe {
            assert!(code.len() <= CODE);
            let writable = libc::PROT_READ | libc::PROT_WRITE;
            assert_eq!(libc::mprotect(self.text.cast(), CODE, writable), 0);
            ptr::copy_nonoverlapping(code.as_ptr(), self.text, code.len());
            let executable = libc::PROT_READ | libc::PROT_EXEC;
            assert_eq!(libc::mprotect(self.text.cast(), CODE, executable), 0);
        }
    }
}

/// Runs `images` in a child, one after the other; which of them did it harm, and how.
fn harm(yard: &Yard, images: &[Vec<u8>]) -> Option<(usize, String)> {
    // SAFETY: a pipe, and a child that only runs code and leaves.
    unsafe {
        let mut pipe = [0; 2];
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            libc::alarm(20);
            for (index, bytes) in images.iter().enumerate() {
                let index = index as u32;
                libc::write(pipe[1], (&raw const index).cast(), 4);
                let image = Image::read(bytes).expect("it was read");
                if let Some(why) = yard.run(&image) {
                    libc::write(2, why.as_ptr().cast(), why.len());
                    libc::_exit(1);
                }
            }
            libc::_exit(0);
        }
        libc::close(pipe[1]);
        let (mut last, mut word) = (0u32, 0u32);
        while libc::read(pipe[0], (&raw mut word).cast(), 4) == 4 {
            last = word;
        }
        libc::close(pipe[0]);
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        (status != 0).then(|| (last as usize, format!("status {status:#x}")))
    }
}

/// A few bytes of the text, or of the tables before it, otherwise.
fn mutate(random: &mut Random, bytes: &mut [u8], text: usize) {
    let begin = if random.below(20) == 0 {
        80
    } else {
        bytes.len() - text
    };
    for _ in 0..=random.below(3) {
        let at = begin + random.below(bytes.len() - begin);
        bytes[at] = match random.below(4) {
            0 => bytes[at] ^ 1 << random.below(8),
            1 => bytes[at].wrapping_add(1),
            2 => bytes[begin + random.below(bytes.len() - begin)],
            _ => random.word() as u8,
        };
    }
}

#[test]
fn mutated_images_are_refused_or_harmless() {
    let count = std::env::var("MUTATED_IMAGES").map_or(100_000, |n| n.parse().unwrap());
    let mut random = Random(2);
    let mut images = Vec::new();
    while images.len() < 64 {
        let image = compiled(&module(&mut random), MEMORY as u32);
        images.extend(image.ok().filter(|image| image.len() < 6000));
    }
    let yard = Yard::new();
    // The honest ones, too.
    assert_eq!(harm(&yard, &images), None, "honest");
    let (mut refused, mut unread, mut passed) = (BTreeMap::<&str, u32>::new(), 0, 0);
    let mut waiting = Vec::new();
    for number in 0..count {
        let mut mutant = images[random.below(images.len())].clone();
        let text = Image::read(&mutant).unwrap().text.len();
        mutate(&mut random, &mut mutant, text);
        let Ok(image) = Image::read(&mutant) else {
            unread += 1;
            continue;
        };
        match wprobe_checker::check(&image, &mut || false) {
            Err(refusal) => *refused.entry(refusal.what).or_default() += 1,
            Ok(_) if image.memory as usize == MEMORY => {
                passed += 1;
                waiting.push(mutant);
            }
            Ok(_) => {}
        }
        if waiting.len() == 500 || number + 1 == count {
            if let Some((index, how)) = harm(&yard, &waiting) {
                let image = &waiting[index];
                panic!("{how}: {image:x?}");
            }
            waiting.clear();
        }
    }
    let total: u32 = refused.values().sum();
    println!(
        "{count} images: {unread} cannot be read, {total} are refused, {passed} are harmless\n{refused:#?}"
    );
    assert!(total > count / 2 && passed > count / 100);
}

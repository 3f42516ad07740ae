//! Modules as native code, in this process as they run in the kernel module.

use std::arch::global_asm;
use std::collections::HashMap;
use std::mem::offset_of;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use abi::imports::{self as names, ENV};
use abi::layout;
use abi::native::{self, IMPORTS, Image, NONE, RETURN, STACK, TRAP, Vm};
use abi::traps::Trap;
use helpers::calls::Work;
use helpers::imports::HostFunction;
use sha2::{Digest, Sha256};

use super::engine::{Instance, State, Target, Trapped, import};
use super::{Base, Error, UserHost};

/// A site that is not known.
const NO_SITE: u32 = u32::MAX;

/// A mapping of this process.
struct Mapping {
    base: NonNull<u8>,
    size: usize,
}

impl Mapping {
    /// Zeroed memory, readable and writable.
    fn new(size: usize) -> Result<Self, Error> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping; it touches nothing that is there.
        let base = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0)
        };
        match NonNull::new(base.cast::<u8>()) {
            Some(base) if base.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { base, size }),
            _ => Err(refused(std::io::Error::last_os_error())),
        }
    }

    /// Executable from now on, and not writable any more.
    fn seal(&self) -> Result<(), Error> {
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        // SAFETY: the mapping is ours, and nobody has a reference into it.
        match unsafe { libc::mprotect(self.base.as_ptr().cast(), self.size, protection) } {
            0 => Ok(()),
            _ => Err(refused(std::io::Error::last_os_error())),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and whoever used it is gone.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size) };
    }
}

/// What the functions that native code calls find behind its [`Vm`].
#[repr(C)]
struct Machine {
    vm: Vm,
    state: Option<Arc<State>>,
    imports: Vec<Option<HostFunction<UserHost>>>,
    /// Addresses of the programs by their exports.
    programs: HashMap<String, u64>,
    /// Addresses of the functions that helpers may call.
    callbacks: Vec<Option<u64>>,
    trapped: Option<Trapped>,
}

struct Native {
    memory: Mapping,
    text: Option<Mapping>,
    /// In a cell of its own, for native code keeps its address.
    machine: NonNull<Machine>,
    fuel: u64,
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::Engine(error.to_string())
}

/// Compiles `wasm` for `memory` bytes of guest memory, as the kernel module does: the same image.
///
/// # Errors
///
/// Why it is not compiled.
pub fn compile(wasm: &[u8], memory: u32) -> Result<Vec<u8>, Error> {
    let digest = |bytes: &[u8]| Sha256::digest(bytes).into();
    compiler::compile(wasm, memory, digest, &|| false).map_err(refused)
}

/// An instance without a module.
pub(super) fn start(pages: u32, fuel: u64) -> Result<(Box<dyn Instance>, Base), Error> {
    let memory = Mapping::new(pages as usize * layout::WASM_PAGE as usize)?;
    let base = memory.base;
    let stack_base = u64::from(layout::stack_base(0));
    let machine = Box::new(Machine {
        vm: Vm {
            memory: base.as_ptr() as u64,
            stack: base.as_ptr() as u64 + stack_base,
            stack_base,
            ..Vm::default()
        },
        state: None,
        imports: Vec::new(),
        programs: HashMap::new(),
        callbacks: Vec::new(),
        trapped: None,
    });
    let native = Native {
        memory,
        text: None,
        machine: NonNull::from(Box::leak(machine)),
        fuel,
    };
    Ok((Box::new(native), base))
}

impl Drop for Native {
    fn drop(&mut self) {
        // SAFETY: it came from a box, and nothing runs.
        drop(unsafe { Box::from_raw(self.machine.as_ptr()) });
    }
}

/// Bytes of a stub.
const STUB: usize = 32;

/// Leads from the text, which only reaches so far, to `target`; with `number` in r10.
fn stub(target: u64, number: u64) -> Vec<u8> {
    let mut code = vec![0x49, 0xba];
    code.extend(number.to_le_bytes());
    code.extend([0x48, 0xb8]);
    code.extend(target.to_le_bytes());
    code.extend([0xff, 0xe0]);
    code.resize(STUB, 0xcc);
    code
}

unsafe extern "sysv64" {
    fn wprobe_user_enter(vm: *mut Vm, function: u64, args: *const [u64; 5]) -> u64;
    fn wprobe_user_leave(vm: *mut Vm) -> !;
    fn wprobe_user_return();
    fn wprobe_user_import();
}

global_asm!(
    // u64 enter(vm, function, args): saves what a caller expects back, for the function saves nothing.
    "wprobe_user_enter:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push qword ptr [rdi + {resume}]",
    "push qword ptr [rdi + {limit}]",
    "push rdi",
    "mov [rdi + {resume}], rsp",
    "lea rax, [rsp - {room}]",
    "mov [rdi + {limit}], rax",
    "mov rax, rsi",
    "mov r10, rdx",
    "mov rsi, [r10]",
    "mov rdx, [r10 + 8]",
    "mov rcx, [r10 + 16]",
    "mov r8, [r10 + 24]",
    "mov r9, [r10 + 32]",
    "call rax",
    "2:",
    "pop rdi",
    "pop qword ptr [rdi + {limit}]",
    "pop qword ptr [rdi + {resume}]",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
    // leave(vm): makes the last enter return.
    "wprobe_user_leave:",
    "mov rsp, [rdi + {resume}]",
    "jmp 2b",
    "wprobe_user_return:",
    "mov rax, rdi",
    "ret",
    // The number of the import as a seventh argument.
    "wprobe_user_import:",
    "push r10",
    "call {call_import}",
    "add rsp, 8",
    "ret",
    resume = const offset_of!(Vm, resume),
    limit = const offset_of!(Vm, stack_limit),
    room = const STACK,
    call_import = sym call_import,
);

/// Calls import `number`; leaves the run if that ends it.
///
/// # Safety
///
/// Called by native code only, with the machine that runs it.
unsafe extern "sysv64" fn call_import(
    vm: *mut Vm,
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
    number: u64,
) -> u64 {
    let machine = vm.cast::<Machine>();
    // SAFETY: the caller's promise; the vm is the machine's first field.
    match unsafe { host_call(machine, number, [a, b, c, d, e]) } {
        Ok(result) => result,
        // SAFETY: nothing above the entry has anything to drop.
        Err(trapped) => unsafe {
            (*machine).trapped = Some(trapped);
            wprobe_user_leave(vm)
        },
    }
}

/// # Safety
///
/// As [`call_import`].
unsafe fn host_call(machine: *mut Machine, number: u64, args: [u64; 5]) -> Result<u64, Trapped> {
    // SAFETY: the run owns the machine; what is borrowed here is not changed by what is called.
    let (function, state, fuel) = unsafe {
        let imports = &(*machine).imports;
        let function = imports[number as usize].as_ref();
        (function, (*machine).state.as_deref(), (*machine).vm.fuel)
    };
    let function = function.ok_or(Trapped::somewhere(Trap::NoHelper))?;
    let state = state.ok_or(Trapped::somewhere(Trap::Engine))?;
    let work = Work::new(fuel);
    let result = state.call(function, args, &work, &mut |target, args| {
        // SAFETY: the caller's promise. What runs pays from the same budget.
        unsafe {
            (*machine).vm.fuel = work.left();
            let result = invoke(machine, target, args);
            work.resume((*machine).vm.fuel);
            result
        }
    });
    // SAFETY: as above.
    unsafe { (*machine).vm.fuel = work.left() };
    result
}

/// Calls a function of the module.
///
/// # Safety
///
/// As [`call_import`].
unsafe fn invoke(
    machine: *mut Machine,
    target: Target<'_>,
    args: [u64; 5],
) -> Result<u64, Trapped> {
    // SAFETY: as above.
    let (callbacks, programs) = unsafe { (&(*machine).callbacks, &(*machine).programs) };
    let function = match target {
        Target::Callback(index) => callbacks.get(index as usize).copied().flatten(),
        Target::Program(export) => programs.get(export).copied(),
    };
    let function = function.ok_or(Trapped::somewhere(Trap::BadCall))?;
    // SAFETY: the text lives as long as the machine.
    unsafe { enter(machine, function, args) }
}

/// # Safety
///
/// `function` is one of the machine's text.
unsafe fn enter(machine: *mut Machine, function: u64, args: [u64; 5]) -> Result<u64, Trapped> {
    // SAFETY: the caller's promise.
    unsafe {
        let result = wprobe_user_enter(machine.cast(), function, &args);
        (*machine).trapped.take().map_or(Ok(result), Err)
    }
}

/// Ends the run.
///
/// # Safety
///
/// As [`call_import`].
unsafe extern "sysv64" fn trap(vm: *mut Vm, code: u32, site: u32) -> ! {
    let mut trapped = Trapped::from_guest(code, site);
    trapped.site = trapped.site.filter(|site| *site != NO_SITE);
    // SAFETY: the caller's promise; nothing above the entry has anything to drop.
    unsafe {
        (*vm.cast::<Machine>()).trapped = Some(trapped);
        wprobe_user_leave(vm)
    }
}

impl Native {
    /// Copies the text, with stubs behind it for what it calls, and makes it executable.
    fn place(&self, image: &Image<'_>) -> Result<Mapping, Error> {
        let imports = image.imports().count();
        let stubs = image.text.len().next_multiple_of(STUB);
        let text = Mapping::new(stubs + (imports + IMPORTS as usize) * STUB)?;
        let mut code = image.text.to_vec();
        code.resize(stubs, 0xcc);
        let base = text.base.as_ptr() as u64;
        for (at, callee) in image.calls() {
            let to = base + stubs as u64 + u64::from(callee) * STUB as u64;
            let distance = native::displacement(base + u64::from(at), to);
            let distance = distance.ok_or_else(|| refused("too much code"))?;
            code[at as usize..at as usize + 4].copy_from_slice(&distance);
        }
        for callee in 0..imports as u32 + IMPORTS {
            let target = match callee {
                TRAP => trap as *const () as u64,
                RETURN => wprobe_user_return as *const () as u64,
                _ => wprobe_user_import as *const () as u64,
            };
            code.extend(stub(target, callee.saturating_sub(IMPORTS).into()));
        }
        // SAFETY: the mapping has room for it, and is only ours.
        unsafe { ptr::copy_nonoverlapping(code.as_ptr(), text.base.as_ptr(), code.len()) };
        text.seal()?;
        Ok(text)
    }
}

impl Instance for Native {
    fn load(&mut self, wasm: &[u8], state: Arc<State>) -> Result<(), Error> {
        let bytes = compile(wasm, self.memory.size as u32)?;
        let image = Image::read(&bytes).map_err(refused)?;
        let mut imports = Vec::new();
        for asked in image.imports() {
            let (module, name) = (asked.module, asked.name);
            if (module, name) == (ENV, names::TRAP) {
                // A callee of its own.
                imports.push(None);
                continue;
            }
            let function = import(module, name)?;
            if function.params != asked.params as usize {
                return Err(refused(format!("{module}.{name} has another type")));
            }
            imports.push(Some(function));
        }
        let text = self.place(&image)?;
        let base = text.base.as_ptr() as u64;
        let programs = image.programs();
        let callbacks = image.callbacks();
        // SAFETY: nothing runs.
        let machine = unsafe { self.machine.as_mut() };
        machine.callbacks = callbacks
            .map(|entry| (entry != NONE).then(|| base + u64::from(entry)))
            .collect();
        machine.programs = programs
            .map(|program| (program.name.to_owned(), base + u64::from(program.entry)))
            .collect();
        machine.imports = imports;
        machine.state = Some(state);
        self.text = Some(text);
        Ok(())
    }

    fn refuel(&mut self) -> Result<(), Trapped> {
        // SAFETY: nothing runs.
        unsafe { self.machine.as_mut() }.vm.fuel = self.fuel;
        Ok(())
    }

    fn left(&self) -> u64 {
        // SAFETY: nothing runs.
        unsafe { self.machine.as_ref() }.vm.fuel
    }

    fn call(&mut self, export: &str, argument: u64) -> Result<u64, Trapped> {
        // SAFETY: nothing runs; the export's entry; the text is mapped.
        unsafe {
            let function = (*self.machine.as_ptr()).programs.get(export).copied();
            let function = function.ok_or(Trapped::somewhere(Trap::BadCall))?;
            enter(self.machine.as_ptr(), function, [argument, 0, 0, 0, 0])
        }
    }
}

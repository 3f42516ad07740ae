//! A sandbox: one linear memory, the space in it, and one store for each CPU over it.
//!
//! # Why the aliasing is sound
//!
//! Each store's engine takes the same buffer as `&'static mut [u8]`. That is a lie that does no harm:
//! the engine only keeps the pointer and makes a reference for the time of one access or one bulk copy
//! of guest bytes, whose values no safety decision depends on; every access is bounds-checked against
//! a length that never changes (growth is denied); and this crate itself touches the bytes through
//! relaxed atomics ([`helpers::guest`]). What races can do is what they do to native maps: a guest reads
//! a torn value. Formally two `&mut` to one byte are undefined behaviour in Rust; the engine has no interface
//! for shared memory, so CAVEATS.md lists it as the one rule that is bent.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::layout;
use abi::uapi::{self, Kind, Resource};
use helpers::guest::GuestMemory;
use helpers::host::Errno;
use helpers::space::Space;
use wasmi::{Error, Memory, MemoryType};

use crate::allocations;
use crate::cpu;
use crate::engine::config::{Start, engine};
use crate::engine::slot::Slot;
use crate::engine::{Function, native};
use crate::later::Later;
use crate::limits::{Account, Charge};
use crate::load;
use crate::locks::Mutex;
use crate::map::{self, Map};
use crate::registry::{self, Object};
use crate::services;
use crate::stack;
use crate::user::{self, Call, Log, refused};

/// Modules that may be loaded into one sandbox, failed ones included: a store never shrinks.
pub(crate) const MAX_LOADS: u32 = 64;

/// Zeroed pages that user space may map.
pub(crate) struct GuestPages {
    base: NonNull<u8>,
}

impl GuestPages {
    pub(crate) fn new(size: u32) -> Result<Self, Errno> {
        let base = services::alloc_guest(size as usize).ok_or(Errno::ENOMEM)?;
        allocations::count_allocation();
        Ok(Self { base })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

// SAFETY: it is only the right to free the pages, which any thread may.
unsafe impl Send for GuestPages {}
// SAFETY: nothing can be done through a shared reference.
unsafe impl Sync for GuestPages {}

impl Drop for GuestPages {
    fn drop(&mut self) {
        allocations::count_free();
        // SAFETY: the pages came from alloc_guest; whatever uses them was dropped before.
        unsafe { services::free_guest(self.base) };
    }
}

/// The store of one CPU and the sandbox's memory in it.
pub(crate) struct CpuSlot {
    pub(crate) slot: Slot,
    pub(crate) memory: Memory,
}

/// What a sandbox with a memory has. Fields are dropped in this order: pages last.
pub(crate) struct Shared {
    pub(crate) cpus: Box<[CpuSlot]>,
    /// How many programs there are: the number of the last.
    programs: AtomicU32,
    pub(crate) space: Arc<Space>,
    _pages: GuestPages,
}

impl Shared {
    fn new(size: u32) -> Result<Self, Errno> {
        let pages = GuestPages::new(size)?;
        let base = pages.base();
        // SAFETY: page-aligned, valid for `size` bytes as long as `pages`, which outlives the space; the
        // references that the engine makes are discussed above.
        let guest = unsafe { GuestMemory::new(base, size) };
        let space = Arc::new(Space::new(guest, cpu::count()));
        let cpus = (0..cpu::count())
            .map(|index| {
                // SAFETY: stores are dropped before the space, which an Arc does not move, and hand it to no one.
                let space = unsafe { &*Arc::as_ptr(&space) };
                cpu_slot(space, base, size, index)
            })
            .collect::<Result<Vec<_>, Error>>()
            .map_err(|_| Errno::ENOMEM)?;
        Ok(Self {
            cpus: cpus.into(),
            programs: AtomicU32::new(0),
            space,
            _pages: pages,
        })
    }
}

impl Shared {
    /// Numbers a module's programs, each with its function in every CPU's store; the first one's number. `None` if the
    /// sandbox is damaged, which then takes no more modules.
    pub(crate) fn add_programs(&self, programs: &[NamedPrograms]) -> Option<u32> {
        for (index, cpu) in self.cpus.iter().enumerate() {
            let mut store = cpu.slot.lock()?;
            let functions = programs.iter().filter_map(|(_, funcs)| funcs.get(index));
            store.data_mut().programs.extend(functions);
        }
        let before = self.programs.fetch_add(programs.len() as u32, Relaxed);
        Some(before + 1)
    }

    /// Whether there is a program `number`.
    pub(crate) fn has_program(&self, number: u32) -> bool {
        (1..=self.programs.load(Relaxed)).contains(&number)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        map::release_cgroups(&self.space);
    }
}

/// A program's name, and its function in each CPU's store.
pub(crate) type NamedPrograms = (String, Vec<Function>);

fn cpu_slot(
    space: &'static Space,
    base: NonNull<u8>,
    size: u32,
    cpu: u32,
) -> Result<CpuSlot, Error> {
    let engine = engine(Start::Refused);
    let vm = native::vm(base.as_ptr() as u64, cpu);
    let slot = Slot::new(&engine, Some(space), size as usize, vm)?;
    let pages = size / layout::WASM_PAGE;
    // SAFETY: valid for `size` bytes while the store lives; see the module's documentation for the aliasing.
    let buffer = unsafe { core::slice::from_raw_parts_mut(base.as_ptr(), size as usize) };
    // Zeroes the buffer, which is why it happens before anything is in it.
    let memory = {
        let mut store = slot.try_lock().ok_or_else(|| Error::new("slot is held"))?;
        Memory::new_static(&mut *store, MemoryType::new(pages, Some(pages)), buffer)?
    };
    Ok(CpuSlot { slot, memory })
}

/// A sandbox. What it has is freed later.
pub(crate) struct Sandbox {
    pub(crate) id: u32,
    body: Later<Body>,
}

/// What a sandbox has.
pub(crate) struct Body {
    name: String,
    pub(crate) size: u32,
    /// None where its modules bring their own memory.
    pub(crate) shared: Option<Shared>,
    /// Modules loaded so far, failed ones included.
    loads: AtomicU32,
    /// Held by who changes its stores: one module is loaded at a time.
    pub(crate) loading: Mutex,
    /// What it has. Dropped last.
    pub(crate) account: Account,
}

impl Deref for Sandbox {
    type Target = Body;

    fn deref(&self) -> &Body {
        &self.body
    }
}

/// Bytes of kernel memory that a sandbox has before there is anything in it, and in addition each CPU's store, about: what is asked
/// for before. What it is then, is charged.
const EMPTY: u64 = 16 << 10;
const STORE: u64 = 288 << 10;

impl Sandbox {
    /// `SANDBOX_CREATE`.
    pub(crate) fn create(call: &Call) -> Result<Object, Errno> {
        let args: uapi::SandboxCreate = call.read()?;
        let page = u64::from(layout::WASM_PAGE);
        if args.flags != 0 || !args.memory.is_multiple_of(page) {
            return Err(Errno::EINVAL);
        }
        let name = user::text(&args.name)?;
        let account = Account::default();
        let (host, shared) = Self::fill(&account, &args)?;
        account
            .owe(Resource::Host, host)
            .map_err(|exceeded| refused(Log::new(args.log, args.log_size), &exceeded))?;
        let body = Body {
            name,
            size: args.memory as u32,
            shared,
            loads: AtomicU32::new(0),
            loading: Mutex::new()?,
            account,
        };
        registry::add(Object::Sandbox(Arc::new(Self {
            id: registry::new_id(Kind::Sandbox)?,
            body: Later::new(body),
        })))
    }

    /// Charges what a sandbox takes, and makes its memory and stores, if it has any; with them, the bytes of kernel memory that
    /// they took.
    fn fill(account: &Account, args: &uapi::SandboxCreate) -> Result<(u64, Option<Shared>), Errno> {
        let log = Log::new(args.log, args.log_size);
        let charge = |resource, amount| {
            let charged = account.charge(resource, amount);
            charged.map_err(|exceeded| refused(log, &exceeded))
        };
        charge(Resource::Sandboxes, 1)?.keep();
        charge(Resource::Memory, args.memory)?.keep();
        let stores = match args.memory {
            0 => 0,
            _ => STORE * u64::from(cpu::count()),
        };
        let host = charge(Resource::Host, EMPTY + stores)?;
        let size = u32::try_from(args.memory).map_err(|_| Errno::E2BIG)?;
        if size == 0 {
            return Ok((EMPTY, None));
        }
        if size < layout::values_base(cpu::count()) {
            return Err(Errno::EINVAL);
        }
        let (shared, allocated) = stack::larger(|| Shared::new(size))?;
        drop::<Charge<'_>>(host);
        Ok((EMPTY + allocated, Some(shared?)))
    }

    /// Counts a load; whether there may be one more.
    pub(crate) fn count_load(&self) -> bool {
        self.loads.fetch_add(1, Relaxed) < MAX_LOADS
    }
}

/// Answers an ioctl of a sandbox's descriptor.
pub(crate) fn ioctl(sandbox: &Arc<Sandbox>, call: &Call) -> Result<Option<Object>, Errno> {
    if call.is(uapi::MAP_CREATE) {
        return Map::create(sandbox, call).map(Some);
    }
    if call.is(uapi::MODULE_LOAD) {
        return load::load(sandbox, call).map(Some);
    }
    if call.is(uapi::SANDBOX_INFO) {
        let (maps, modules) = registry::children(sandbox)?;
        let shared = sandbox.shared.as_ref();
        call.write(&uapi::SandboxInfo {
            id: sandbox.id,
            pinned: registry::is_pinned(&Object::Sandbox(sandbox.clone()))?.into(),
            name: user::field(&sandbox.name),
            memory: sandbox.size.into(),
            used: shared.map_or(0, |s| s.space.used()).into(),
            maps,
            modules,
        })?;
        return Ok(None);
    }
    Err(user::ENOTTY)
}

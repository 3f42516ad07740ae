//! The `/dev/wprobe` interface: objects, ioctls and their structs, once.
//!
//! The object model is bpf(2)'s. The device hands out file descriptors:
//!
//! * a **sandbox**: one linear memory and its limits;
//! * in it **maps** and **modules** (a module holds its programs), which live as long as the sandbox does;
//! * a **link**: one attachment of one program;
//! * a **ring**: one CPU's events of a perf event array, for a reader;
//! * a **timing**: the wish that runs be timed.
//!
//! An object lives while a descriptor, a pin or a child holds it: a link holds its module, modules and
//! maps hold their sandbox, a ring holds its map. A killed loader therefore leaves nothing behind, unless it pinned something.
//! Ids are for listing.
//!
//! Two descriptors can be mapped and polled, in the layouts that libbpf reads: a ring's (`perf_buffer`: the
//! page of positions and the data, writable) and a ring buffer map's (`ring_buffer`: the consumer page,
//! writable; from the second page on the producer page and twice the data, read-only).
//!
//! Sizes are checked as bpf(2) does: the ioctl number carries the caller's struct size; a shorter struct
//! is extended by zeros, a longer one is accepted only if the unknown tail is zero.
//!
//! Opening the device needs the rights to trace: `CAP_BPF` and `CAP_PERFMON`, or `CAP_SYS_ADMIN`, and a kernel that is not locked
//! down for confidentiality. A descriptor may be handed on, so each request asks its caller anew for what [`Ioctl::needs`] says of it.
//! What it says nothing of takes the descriptor alone: all that only reads (read(2), poll(2) and mmap(2), too), and changes of a map's
//! elements, as with bpf(2). `LINK_CREATE` asks in addition whether lockdown forbids such a probe, `MODULE_LOAD` with native code
//! that cannot be proven safe for the rights to load kernel modules.
//!
//! Closing a descriptor waits for nobody. When close(2) of the last one of a link returns, its program has run for the last time;
//! what the kernel has of closed objects is freed a little later ([`FLUSH`] waits for it).
//!
//! The C header (`kmod/include/wprobe_uapi.h`) is generated from this file; a test fails when it is stale.

/// Version of this interface.
pub const VERSION: u32 = 1;
/// Bytes of an object's name, NUL included.
pub const NAME_SIZE: usize = 64;
/// Bytes of an export's or target's name, NUL included.
pub const TARGET_SIZE: usize = 128;
/// The ioctl "magic".
pub const MAGIC: u8 = b'W';
/// `LinkCreate::args`: parameters of a syscall at most.
pub const SYSCALL_ARGS: usize = 6;
/// `LinkCreate::args`: arguments of a tracepoint or a traced function at most.
pub const FUNCTION_ARGS: usize = 12;
/// In `LinkCreate::args`, beside the bytes of a word of a function's argument: it lies on the stack, whatever registers are left. A
/// struct by value does that does not fit into them in whole.
pub const ARG_STACKED: u8 = 0x80;
/// Bytes of `LinkCreate::args`.
pub const LINK_ARGS: usize = 16;
/// Bytes of [`ModuleInfo::reason`], NUL included.
pub const REASON_SIZE: usize = 128;
/// `ModuleLoad::flags`: the wasm is compiled here, and run as native code if that is proven safe.
pub const MODULE_COMPILE: u32 = 1;
/// `ModuleLoad::flags`, beside [`MODULE_COMPILE`]: what is not compiled, or not proven, is interpreted.
pub const MODULE_FALLBACK: u32 = 2;
/// `LinkCreate::flags`: `sample` is a period.
pub const LINK_PERIOD: u64 = 1;
/// Places of a link at most.
pub const MAX_PLACES: u64 = 16 * 1024;

/// A field of a struct in this interface, for the header generator.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its Rust type, as written.
    pub ty: &'static str,
    /// Its documentation.
    pub doc: &'static str,
}

/// A struct of this interface, for the header generator.
#[derive(Clone, Copy, Debug)]
pub struct Struct {
    /// Its name.
    pub name: &'static str,
    /// Its documentation.
    pub doc: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// Its fields in order.
    pub fields: &'static [Field],
}

macro_rules! uapi {
    ($(#[doc = $doc:literal] $name:ident { $(#[doc = $field_doc:literal] $field:ident: $ty:ty,)* })*) => {
        $(
            #[doc = $doc]
            #[derive(Clone, Copy, Debug)]
            #[repr(C)]
            pub struct $name {
                $(#[doc = $field_doc] pub $field: $ty,)*
            }
        )*

        /// Every struct of the interface.
        pub const STRUCTS: &[Struct] = &[$(Struct {
            name: stringify!($name),
            doc: $doc,
            size: core::mem::size_of::<$name>(),
            fields: &[$(Field { name: stringify!($field), ty: stringify!($ty), doc: $field_doc }),*],
        }),*];
    };
}

uapi! {
    #[doc = "What this module is and how it is doing."]
    About {
        #[doc = "out: version of the interface"]
        version: u32,
        #[doc = "out: possible CPUs"]
        cpus: u32,
        #[doc = "out: bytes of memory a sandbox may have"]
        max_memory: u64,
        #[doc = "out: bytes of a wasm module at most"]
        max_module: u64,
        #[doc = "out: default execution budget of one run"]
        default_fuel: u64,
        #[doc = "out: allocations made since the module was loaded"]
        allocations: u64,
        #[doc = "out: frees made since the module was loaded"]
        frees: u64,
        #[doc = "out: allocations made inside a probe; anything but 0 is a defect"]
        probe_allocations: u64,
        #[doc = "out: largest execution budget of one run"]
        max_fuel: u64,
    }

    #[doc = "How much of a resource there may be, and is."]
    Limit {
        #[doc = "in: RESOURCE_*"]
        resource: u32,
        #[doc = "in: 0"]
        reserved: u32,
        #[doc = "out: what one sandbox may have"]
        each: u64,
        #[doc = "out: what all sandboxes together may have"]
        total: u64,
        #[doc = "out: what they have"]
        used: u64,
    }

    #[doc = "Creates a sandbox."]
    SandboxCreate {
        #[doc = "in: its name, NUL-terminated"]
        name: [u8; NAME_SIZE],
        #[doc = "in: bytes of linear memory, a multiple of 64 KiB; 0: its modules bring their own"]
        memory: u64,
        #[doc = "in: 0"]
        flags: u64,
        #[doc = "in: address of a buffer for the reason of a refusal, NUL-terminated text"]
        log: u64,
        #[doc = "in: its size"]
        log_size: u64,
    }

    #[doc = "Walks the ids of one kind of object, upwards."]
    NextId {
        #[doc = "in: KIND_*"]
        kind: u32,
        #[doc = "in: an id, 0 to start; out: the next larger one"]
        id: u32,
    }

    #[doc = "Opens an object by its id."]
    OpenId {
        #[doc = "in: KIND_*"]
        kind: u32,
        #[doc = "in: its id"]
        id: u32,
    }

    #[doc = "Creates a map in a sandbox."]
    MapCreate {
        #[doc = "in: its name, NUL-terminated"]
        name: [u8; NAME_SIZE],
        #[doc = "in: enum bpf_map_type"]
        map_type: u32,
        #[doc = "in: bytes of a key"]
        key_size: u32,
        #[doc = "in: bytes of a value"]
        value_size: u32,
        #[doc = "in: elements at most"]
        max_entries: u32,
        #[doc = "in: map_flags as in bpf(2)"]
        map_flags: u32,
        #[doc = "in: for a map of maps, the type of its maps, else 0"]
        inner_type: u32,
        #[doc = "out: the value of the import map.NAME of a true map"]
        handle: u64,
        #[doc = "out: guest pointer of element 0 where elements lie in order (arrays), else 0"]
        values: u64,
        #[doc = "in: bytes of a key of the inner maps"]
        inner_key_size: u32,
        #[doc = "in: bytes of a value of the inner maps"]
        inner_value_size: u32,
        #[doc = "in: elements of the inner maps, where arrays, at most"]
        inner_max_entries: u32,
        #[doc = "in: map_flags of the inner maps"]
        inner_flags: u32,
        #[doc = "in: address of a buffer for the reason of a refusal, NUL-terminated text"]
        log: u64,
        #[doc = "in: its size"]
        log_size: u64,
    }

    #[doc = "Loads a wasm module into a sandbox. Its licence is the text of its custom section bpf2wasm.license: under one that is not GPL-compatible, or without, it may not import what the kernel offers to GPL-compatible programs only."]
    ModuleLoad {
        #[doc = "in: its name, NUL-terminated"]
        name: [u8; NAME_SIZE],
        #[doc = "in: address of the wasm bytes"]
        wasm: u64,
        #[doc = "in: how many"]
        wasm_size: u64,
        #[doc = "in: traps of one program after which it is disabled; 0: never"]
        trap_limit: u32,
        #[doc = "in: MODULE_COMPILE, with MODULE_FALLBACK or without, or 0"]
        flags: u32,
        #[doc = "in: execution budget of one run; 0: the default"]
        fuel: u64,
        #[doc = "in: address of a buffer for the reason of a refusal, NUL-terminated text"]
        log: u64,
        #[doc = "in: its size"]
        log_size: u64,
        #[doc = "in: address of native code to run in place of the wasm, which asks for CAP_SYS_MODULE if it is not proven safe; 0: none"]
        native: u64,
        #[doc = "in: its size"]
        native_size: u64,
    }

    #[doc = "Attaches a program. The link is active until it is gone."]
    LinkCreate {
        #[doc = "in: the export's name, NUL-terminated"]
        program: [u8; TARGET_SIZE],
        #[doc = "in: what to attach to: a symbol, a tracepoint, SYSTEM/NAME of an event, a path; NUL-terminated"]
        target: [u8; TARGET_SIZE],
        #[doc = "in: ATTACH_*"]
        attach: u32,
        #[doc = "in: bytes of context to copy in at a hit"]
        context: u32,
        #[doc = "in: offset from the start of the target"]
        offset: u64,
        #[doc = "in: value of bpf_get_attach_cookie()"]
        cookie: u64,
        #[doc = "in: up to the first 0, of each argument: its bytes (tracepoints and functions; a struct of 9 to 16 is two), with ARG_STACKED or not; ARG_* (ATTACH_SYSCALL_*)"]
        args: [u8; LINK_ARGS],
        #[doc = "in: for ATTACH_U*PROBE: offset in the file of a counter to keep above 0 (usdt semaphore); 0: none"]
        semaphore: u64,
        #[doc = "in: for ATTACH_U*PROBE: process whose hits count; 0: any"]
        pid: u32,
        #[doc = "in: for ATTACH_PERF_EVENT: perf_event_attr.type"]
        event_type: u32,
        #[doc = "in: for ATTACH_PERF_EVENT: perf_event_attr.config"]
        event: u64,
        #[doc = "in: for ATTACH_PERF_EVENT: samples a second; with LINK_PERIOD in flags, events a sample"]
        sample: u64,
        #[doc = "in: address of a buffer for the reason of a refusal, NUL-terminated text"]
        log: u64,
        #[doc = "in: its size"]
        log_size: u64,
        #[doc = "in: LINK_PERIOD or 0"]
        flags: u64,
        #[doc = "in: for ATTACH_K*PROBE and ATTACH_U*PROBE, of a link with many places: address of a number for each, where the function begins in the kernel, or its offset in the file"]
        places: u64,
        #[doc = "in: how many there are; 0: target and offset say the one there is"]
        place_count: u64,
        #[doc = "in: address of a cookie for each of them; 0: they have that in `cookie`"]
        cookies: u64,
    }

    #[doc = "Runs the module's `report` export and copies the string it returns."]
    Report {
        #[doc = "in: address of a buffer"]
        text: u64,
        #[doc = "in: its size; out: bytes written, NUL not counted"]
        size: u64,
    }

    #[doc = "One program of a module."]
    ProgramInfo {
        #[doc = "in: which one, counting exports that can be attached"]
        index: u32,
        #[doc = "out: whether too many traps disabled it"]
        disabled: u32,
        #[doc = "out: the export's name"]
        name: [u8; TARGET_SIZE],
        #[doc = "out: runs that were started"]
        runs: u64,
        #[doc = "out: hits that found the CPU busy with another run, or that the probe itself missed"]
        misses: u64,
        #[doc = "out: runs that ended early"]
        traps: u64,
        #[doc = "out: enum wprobe_trap of the last one, 0 if none"]
        last_trap: u32,
        #[doc = "out: site of the last one (see the manifest), ~0 if not known"]
        last_site: u32,
        #[doc = "out: nanoseconds spent in the runs that were timed"]
        nanoseconds: u64,
        #[doc = "out: its number in its sandbox, from 1, what a program array is given and gives; 0: none"]
        number: u32,
        #[doc = "out: 0"]
        reserved: u32,
        #[doc = "out: runs that were timed: those while a TIME_RUNS descriptor was held"]
        timed: u64,
    }

    #[doc = "A sandbox."]
    SandboxInfo {
        #[doc = "out: its id"]
        id: u32,
        #[doc = "out: 1 if pinned"]
        pinned: u32,
        #[doc = "out: its name"]
        name: [u8; NAME_SIZE],
        #[doc = "out: bytes of linear memory"]
        memory: u64,
        #[doc = "out: bytes of it in use"]
        used: u64,
        #[doc = "out: maps in it"]
        maps: u32,
        #[doc = "out: modules in it"]
        modules: u32,
    }

    #[doc = "A map."]
    MapInfo {
        #[doc = "out: its id"]
        id: u32,
        #[doc = "out: its sandbox's id"]
        sandbox: u32,
        #[doc = "out: its name"]
        name: [u8; NAME_SIZE],
        #[doc = "out: enum bpf_map_type"]
        map_type: u32,
        #[doc = "out: bytes of a key"]
        key_size: u32,
        #[doc = "out: bytes of a value"]
        value_size: u32,
        #[doc = "out: elements at most"]
        max_entries: u32,
        #[doc = "out: map_flags"]
        map_flags: u32,
        #[doc = "out: 1 if pinned"]
        pinned: u32,
        #[doc = "out: its number in its sandbox, from 1: what a map of maps is given and gives"]
        number: u32,
    }

    #[doc = "A module. Its bytes can be read with read(2) from its descriptor."]
    ModuleInfo {
        #[doc = "out: its id"]
        id: u32,
        #[doc = "out: its sandbox's id"]
        sandbox: u32,
        #[doc = "out: its name"]
        name: [u8; NAME_SIZE],
        #[doc = "out: bytes of wasm"]
        wasm_size: u64,
        #[doc = "out: execution budget of one run"]
        fuel: u64,
        #[doc = "out: traps of one program after which it is disabled; 0: never"]
        trap_limit: u32,
        #[doc = "out: programs in it"]
        programs: u32,
        #[doc = "out: links of its programs"]
        links: u32,
        #[doc = "out: 1 if pinned"]
        pinned: u32,
        #[doc = "out: 1 if it has its own memory and one instance (hand-written), 0 if one instance per CPU"]
        exclusive: u32,
        #[doc = "out: 1 if it exports `report`"]
        reports: u32,
        #[doc = "out: bytes of native code, 0 if its wasm is interpreted"]
        native: u64,
        #[doc = "out: when it was loaded, nanoseconds of CLOCK_BOOTTIME"]
        loaded: u64,
        #[doc = "out: the user that loaded it"]
        uid: u32,
        #[doc = "out: the process that loaded it, which may have ended since"]
        pid: u32,
        #[doc = "out: ENGINE_*"]
        engine: u32,
        #[doc = "out: 0"]
        reserved: u32,
        #[doc = "out: why it is interpreted though it was to be compiled; else empty"]
        reason: [u8; REASON_SIZE],
    }

    #[doc = "A link."]
    LinkInfo {
        #[doc = "out: its id"]
        id: u32,
        #[doc = "out: its module's id"]
        module: u32,
        #[doc = "out: the export's name"]
        program: [u8; TARGET_SIZE],
        #[doc = "out: what it is attached to"]
        target: [u8; TARGET_SIZE],
        #[doc = "out: ATTACH_*"]
        attach: u32,
        #[doc = "out: 1 if pinned"]
        pinned: u32,
        #[doc = "out: offset from the start of the target"]
        offset: u64,
        #[doc = "out: value of bpf_get_attach_cookie(), at the first of its places"]
        cookie: u64,
        #[doc = "out: how many places it has"]
        places: u64,
    }

    #[doc = "One element of a map; for per-CPU maps the value is one per possible CPU, each padded to 8 bytes."]
    MapElement {
        #[doc = "in: address of the key; for MAP_NEXT_KEY 0 to start"]
        key: u64,
        #[doc = "in: address of the value (MAP_NEXT_KEY: of the next key)"]
        value: u64,
        #[doc = "in: BPF_ANY, BPF_NOEXIST, BPF_EXIST"]
        flags: u64,
    }

    #[doc = "Opens a ring for the events of one CPU. It is in the map until nothing holds it."]
    RingOpen {
        #[doc = "in: its index in the map"]
        index: u32,
        #[doc = "in: the CPU whose events it takes"]
        cpu: u32,
        #[doc = "in: pages of data, a power of two; one more is mapped before them"]
        pages: u32,
        #[doc = "in: 0"]
        reserved: u32,
        #[doc = "in: address of a buffer for the reason of a refusal, NUL-terminated text"]
        log: u64,
        #[doc = "in: its size"]
        log_size: u64,
    }
}

/// Kinds of objects, for [`NextId`] and [`OpenId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A sandbox.
    Sandbox = 1,
    /// A map.
    Map = 2,
    /// A module.
    Module = 3,
    /// A link.
    Link = 4,
    /// A ring.
    Ring = 5,
    /// The timing of all runs, while it lives.
    Timing = 6,
}

/// What runs a module, for [`ModuleInfo::engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Engine {
    /// Its wasm is interpreted.
    Interpreted = 0,
    /// Native code that was compiled here, and proven.
    Compiled = 1,
    /// Native code that was handed over, and proven.
    Proven = 2,
    /// Native code that was handed over by who may load kernel modules.
    Trusted = 3,
}

macro_rules! resources {
    ($($(#[doc = $doc:literal])* $name:ident $number:literal $text:literal;)*) => {
        /// What is limited, for [`Limit`]. The limits are the kernel module's parameters `max_NAME` (one sandbox) and
        /// `total_NAME` (all of them).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Resource {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl Resource {
            /// Every one, by increasing number.
            pub const ALL: &[Resource] = &[$(Resource::$name),*];

            /// Its name in the parameters.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Resource::$name => $text,)*
                }
            }
        }
    };
}

resources! {
    /// Bytes of linear memory and of rings.
    Memory 1 "memory";
    /// Maps.
    Maps 2 "maps";
    /// Elements that maps have room for.
    Entries 3 "entries";
    /// Programs.
    Programs 4 "programs";
    /// Instances: one a module and CPU, of a hand-written module one.
    Instances 5 "instances";
    /// Bytes of native code.
    Native 6 "native";
    /// Bytes of kernel memory besides: keys and chains of maps, stores, what the engine makes of modules, links.
    Host 7 "host";
    /// Links.
    Links 8 "links";
    /// Sandboxes.
    Sandboxes 9 "sandboxes";
}

macro_rules! attach_points {
    ($($(#[doc = $doc:literal])* $name:ident $number:literal $text:literal;)*) => {
        /// `ATTACH_*`: where a link attaches.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum AttachPoint {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl AttachPoint {
            /// Every one, by increasing number.
            pub const ALL: &[AttachPoint] = &[$(AttachPoint::$name),*];

            /// Its name in lower case.
            pub const fn name(self) -> &'static str {
                match self {
                    $(AttachPoint::$name => $text,)*
                }
            }
        }
    };
}

attach_points! {
    /// A kprobe; context `struct pt_regs`.
    Kprobe 1 "kprobe";
    /// A kretprobe; context `struct pt_regs`.
    Kretprobe 2 "kretprobe";
    /// Entry of a syscall wrapper, arguments by value (hand-written modules, `kprobe:SYMBOL:pre`).
    SyscallPre 3 "syscall_pre";
    /// After the first instruction of a syscall wrapper (hand-written modules, `kprobe:SYMBOL:post`).
    SyscallPost 4 "syscall_post";
    /// A tracepoint; context its arguments, a word each, cut to their size.
    RawTracepoint 5 "raw_tracepoint";
    /// A trace event; context its record, as `format` in tracefs describes it.
    Tracepoint 6 "tracepoint";
    /// Entry of a function; context its arguments, a word each.
    Fentry 7 "fentry";
    /// Return of a function; context its arguments, then its result.
    Fexit 8 "fexit";
    /// Entry of a function; context its arguments, then 0. The program's result changes nothing.
    FmodRet 9 "fmod_ret";
    /// Samples of a perf event on every CPU; context `struct bpf_perf_event_data`.
    PerfEvent 10 "perf_event";
    /// A place in a file that processes map; context `struct pt_regs`.
    Uprobe 11 "uprobe";
    /// Return of the function there; context `struct pt_regs`.
    Uretprobe 12 "uretprobe";
    /// A function's entry, and its return where the program gave 0 at entry; context `struct pt_regs`, then the words of a session.
    KprobeSession 13 "kprobe_session";
}

/// `ARG_*`: how a syscall's parameter is handed to a hand-written module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SyscallArg {
    /// No such parameter.
    None = 0,
    /// By value.
    Scalar = 1,
    /// A user-space string: copied to the module's `buffer`, whose offset is passed.
    String = 2,
}

const fn ioc(direction: u32, number: u32, size: usize) -> u32 {
    direction << 30 | (size as u32) << 16 | (MAGIC as u32) << 8 | number
}

/// What a request asks for besides its descriptor, of who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// No rights.
    Nothing,
    /// `CAP_BPF` and `CAP_PERFMON`, or `CAP_SYS_ADMIN`, and no lockdown of confidentiality.
    Tracing,
}

impl Needs {
    /// The same, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Needs::Nothing => "nothing",
            Needs::Tracing => "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN; no lockdown",
        }
    }
}

/// An ioctl of this interface.
#[derive(Clone, Copy, Debug)]
pub struct Ioctl {
    /// Its name.
    pub name: &'static str,
    /// Its number, with the size of its struct.
    pub number: u32,
    /// The descriptor it is for.
    pub descriptor: &'static str,
    /// What it asks for.
    pub needs: Needs,
    /// Its struct's name; empty if it has none.
    pub argument: &'static str,
}

macro_rules! ioctls {
    ($($(#[doc = $doc:literal])* $name:ident $number:literal $target:literal $needs:ident $($arg:ident)?;)*) => {
        $($(#[doc = $doc])* pub const $name: u32 = ioctls!(@number $number $($arg)?);)*

        /// Every ioctl.
        pub const IOCTLS: &[Ioctl] = &[$(Ioctl {
            name: stringify!($name),
            number: $name,
            descriptor: $target,
            needs: Needs::$needs,
            argument: concat!($(stringify!($arg))?),
        }),*];
    };
    (@number $number:literal) => { ioc(0, $number, 0) };
    (@number $number:literal $arg:ident) => { ioc(3, $number, core::mem::size_of::<$arg>()) };
}

ioctls! {
    /// See [`About`].
    ABOUT 0 "device" Nothing About;
    /// Returns a sandbox descriptor.
    SANDBOX_CREATE 1 "device" Tracing SandboxCreate;
    /// `ENOENT` after the last one.
    NEXT_ID 2 "device" Tracing NextId;
    /// Returns a descriptor.
    OPEN_ID 3 "device" Tracing OpenId;
    /// `ENOENT` after the last resource.
    LIMIT 4 "device" Nothing Limit;
    /// Returns a descriptor; while it, or a pin, is held, the time of every run is measured.
    TIME_RUNS 5 "device" Tracing;
    /// Returns when all that was closed before is freed: then [`About::allocations`] equals [`About::frees`] but for what is open.
    FLUSH 6 "device" Nothing;
    /// Returns a map descriptor.
    MAP_CREATE 16 "sandbox" Tracing MapCreate;
    /// Returns a module descriptor.
    MODULE_LOAD 17 "sandbox" Tracing ModuleLoad;
    /// See [`SandboxInfo`].
    SANDBOX_INFO 18 "sandbox" Nothing SandboxInfo;
    /// Returns a link descriptor.
    LINK_CREATE 32 "module" Tracing LinkCreate;
    /// See [`Report`].
    REPORT 33 "module" Tracing Report;
    /// `ENOENT` after the last program.
    PROGRAM_INFO 34 "module" Nothing ProgramInfo;
    /// See [`ModuleInfo`].
    MODULE_INFO 35 "module" Nothing ModuleInfo;
    /// See [`LinkInfo`].
    LINK_INFO 48 "link" Nothing LinkInfo;
    /// See [`MapInfo`].
    MAP_INFO 64 "map" Nothing MapInfo;
    /// `ENOENT` if the key is not there.
    MAP_LOOKUP 65 "map" Nothing MapElement;
    /// Errors as the kernel's map type has them.
    MAP_UPDATE 66 "map" Nothing MapElement;
    /// Errors as the kernel's map type has them.
    MAP_DELETE 67 "map" Nothing MapElement;
    /// `ENOENT` after the last key.
    MAP_NEXT_KEY 68 "map" Nothing MapElement;
    /// Returns a ring descriptor; of a perf event array only. `EBUSY` if there is one at the index.
    RING_OPEN 69 "map" Tracing RingOpen;
    /// Keeps the object alive without a descriptor.
    PIN 80 "any object" Tracing;
    /// Takes [`PIN`] back.
    UNPIN 81 "any object" Tracing;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_have_no_padding() {
        for s in STRUCTS {
            let sum: usize = s.fields.iter().map(|f| field_size(f.ty)).sum();
            assert_eq!(sum, s.size, "{} has padding", s.name);
        }
    }

    fn field_size(ty: &str) -> usize {
        match ty {
            "u8" => 1,
            "u32" => 4,
            "u64" => 8,
            "[u8; NAME_SIZE]" => NAME_SIZE,
            "[u8; TARGET_SIZE]" => TARGET_SIZE,
            "[u8; LINK_ARGS]" => LINK_ARGS,
            "[u8; REASON_SIZE]" => REASON_SIZE,
            other => panic!("{other}: unknown to the header generator"),
        }
    }

    #[test]
    fn ioctl_numbers_are_unique() {
        for (i, a) in IOCTLS.iter().enumerate() {
            assert!(
                IOCTLS[i + 1..]
                    .iter()
                    .all(|b| a.number & 0xff != b.number & 0xff),
                "{}",
                a.name
            );
        }
    }
}

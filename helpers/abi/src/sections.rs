//! Section names: which program type and attach type a section stands for, and how its export is named.
//!
//! The rows restate libbpf's `section_defs` (`libbpf.c`). A section is `PREFIX` or `PREFIX/TARGET`; a
//! leading `?` means "not loaded unless asked for".
//!
//! **Export names** are `PROVIDER:TARGET:POINT`. `/` separators inside a target become `:` only for
//! tracepoints (`tracepoint:syscalls:sys_enter_openat:hit` keeps category and name apart). A program
//! whose name would repeat an earlier export of the same object gets `#FUNCTION` appended; a program
//! without a target has an empty one (`perf_event::hit`).

/// `enum bpf_prog_type`, the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(
    missing_docs,
    reason = "the names are the kernel's and documented there"
)]
pub enum ProgType {
    Unspec = 0,
    SocketFilter = 1,
    Kprobe = 2,
    SchedCls = 3,
    SchedAct = 4,
    Tracepoint = 5,
    Xdp = 6,
    PerfEvent = 7,
    CgroupSkb = 8,
    CgroupSock = 9,
    LwtIn = 10,
    LwtOut = 11,
    LwtXmit = 12,
    SockOps = 13,
    SkSkb = 14,
    CgroupDevice = 15,
    SkMsg = 16,
    RawTracepoint = 17,
    CgroupSockAddr = 18,
    LwtSeg6local = 19,
    LircMode2 = 20,
    SkReuseport = 21,
    FlowDissector = 22,
    CgroupSysctl = 23,
    RawTracepointWritable = 24,
    CgroupSockopt = 25,
    Tracing = 26,
    StructOps = 27,
    Ext = 28,
    Lsm = 29,
    SkLookup = 30,
    Syscall = 31,
    Netfilter = 32,
}

/// How a program is attached; finer than `enum bpf_attach_type`, which has no kprobes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[expect(missing_docs, reason = "each is named as the section that asks for it")]
pub enum Attach {
    Kprobe,
    Kretprobe,
    Ksyscall,
    Kretsyscall,
    KprobeMulti,
    KretprobeMulti,
    KprobeSession,
    Uprobe,
    Uretprobe,
    UprobeMulti,
    UretprobeMulti,
    UprobeSession,
    Usdt,
    Tracepoint,
    RawTracepoint,
    TpBtf,
    Fentry,
    Fexit,
    FmodRet,
    Fsession,
    Lsm,
    Iter,
    PerfEvent,
    Syscall,
    Freplace,
    StructOps,
    /// Attached to a network device, socket or cgroup; only test-run so far.
    Network,
    /// Not attachable by name.
    None,
}

impl Attach {
    /// Whether one program runs at entry and at return, which it asks by kernel functions of sessions.
    pub const fn is_session(self) -> bool {
        matches!(
            self,
            Attach::KprobeSession | Attach::UprobeSession | Attach::Fsession
        )
    }
}

/// What may follow a section's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing.
    Exact,
    /// `/TARGET`, or nothing.
    Target,
    /// Anything, which is the target: libbpf before 1.0 took such names, and objects have them.
    Loose,
}

/// One row of [`SECTIONS`].
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// The section's name up to what [`form`](Section::form) lets follow.
    pub prefix: &'static str,
    /// What may follow the prefix.
    pub form: Form,
    /// The program type.
    pub prog_type: ProgType,
    /// The attach type.
    pub attach: Attach,
    /// First part of the export name.
    pub provider: &'static str,
    /// Last part of the export name.
    pub point: &'static str,
    /// Whether the program may sleep.
    pub sleepable: bool,
}

macro_rules! sections {
    ($($prefix:literal $form:ident $prog:ident $attach:ident $provider:literal $point:literal $sleep:ident;)*) => {
        /// Every section name understood. A longer prefix stands before a shorter one it begins with.
        pub const SECTIONS: &[Section] = &[$(Section {
            prefix: $prefix,
            form: form!($form),
            prog_type: ProgType::$prog,
            attach: Attach::$attach,
            provider: $provider,
            point: $point,
            sleepable: sleep!($sleep),
        }),*];
    };
}
macro_rules! form {
    (exact) => {
        Form::Exact
    };
    (prefix) => {
        Form::Target
    };
    (loose) => {
        Form::Loose
    };
}
macro_rules! sleep {
    (sleeps) => {
        true
    };
    (atomic) => {
        false
    };
}

sections! {
    "kprobe.multi"        prefix Kprobe KprobeMulti "kprobe.multi" "pre" atomic;
    "kretprobe.multi"     prefix Kprobe KretprobeMulti "kprobe.multi" "ret" atomic;
    "kprobe.session"      prefix Kprobe KprobeSession "kprobe.session" "both" atomic;
    "kprobe"              prefix Kprobe Kprobe "kprobe" "pre" atomic;
    "kretprobe"           prefix Kprobe Kretprobe "kprobe" "ret" atomic;
    "ksyscall"            prefix Kprobe Ksyscall "ksyscall" "pre" atomic;
    "kretsyscall"         prefix Kprobe Kretsyscall "ksyscall" "ret" atomic;
    "uprobe.multi.s"      prefix Kprobe UprobeMulti "uprobe.multi" "pre" sleeps;
    "uretprobe.multi.s"   prefix Kprobe UretprobeMulti "uprobe.multi" "ret" sleeps;
    "uprobe.multi"        prefix Kprobe UprobeMulti "uprobe.multi" "pre" atomic;
    "uretprobe.multi"     prefix Kprobe UretprobeMulti "uprobe.multi" "ret" atomic;
    "uprobe.session.s"    prefix Kprobe UprobeSession "uprobe.session" "both" sleeps;
    "uprobe.session"      prefix Kprobe UprobeSession "uprobe.session" "both" atomic;
    "uprobe.s"            prefix Kprobe Uprobe "uprobe" "pre" sleeps;
    "uretprobe.s"         prefix Kprobe Uretprobe "uprobe" "ret" sleeps;
    "uprobe"              prefix Kprobe Uprobe "uprobe" "pre" atomic;
    "uretprobe"           prefix Kprobe Uretprobe "uprobe" "ret" atomic;
    "usdt.s"              prefix Kprobe Usdt "usdt" "hit" sleeps;
    "usdt"                prefix Kprobe Usdt "usdt" "hit" atomic;
    "tracepoint"          prefix Tracepoint Tracepoint "tracepoint" "hit" atomic;
    "tp"                  prefix Tracepoint Tracepoint "tracepoint" "hit" atomic;
    "raw_tracepoint.w"    prefix RawTracepointWritable RawTracepoint "raw_tracepoint" "hit" atomic;
    "raw_tp.w"            prefix RawTracepointWritable RawTracepoint "raw_tracepoint" "hit" atomic;
    "raw_tracepoint"      prefix RawTracepoint RawTracepoint "raw_tracepoint" "hit" atomic;
    "raw_tp"              prefix RawTracepoint RawTracepoint "raw_tracepoint" "hit" atomic;
    "tp_btf"              prefix Tracing TpBtf "tp_btf" "hit" atomic;
    "fentry.s"            prefix Tracing Fentry "fentry" "pre" sleeps;
    "fentry"              prefix Tracing Fentry "fentry" "pre" atomic;
    "fexit.s"             prefix Tracing Fexit "fexit" "ret" sleeps;
    "fexit"               prefix Tracing Fexit "fexit" "ret" atomic;
    "fmod_ret.s"          prefix Tracing FmodRet "fmod_ret" "ret" sleeps;
    "fmod_ret"            prefix Tracing FmodRet "fmod_ret" "ret" atomic;
    "fsession.s"          prefix Tracing Fsession "fsession" "both" sleeps;
    "fsession"            prefix Tracing Fsession "fsession" "both" atomic;
    "iter.s"              prefix Tracing Iter "iter" "run" sleeps;
    "iter"                prefix Tracing Iter "iter" "run" atomic;
    "lsm_cgroup"          prefix Lsm Lsm "lsm_cgroup" "run" atomic;
    "lsm.s"               prefix Lsm Lsm "lsm" "run" sleeps;
    "lsm"                 prefix Lsm Lsm "lsm" "run" atomic;
    "freplace"            prefix Ext Freplace "freplace" "run" atomic;
    "syscall"             prefix Syscall Syscall "syscall" "run" sleeps;
    "perf_event"          prefix PerfEvent PerfEvent "perf_event" "hit" atomic;
    "struct_ops.s"        prefix StructOps StructOps "struct_ops" "run" sleeps;
    "struct_ops"          prefix StructOps StructOps "struct_ops" "run" atomic;
    "socket"              loose SocketFilter Network "socket" "run" atomic;
    "sk_reuseport/migrate" exact SkReuseport Network "sk_reuseport" "run" atomic;
    "sk_reuseport"        prefix SkReuseport Network "sk_reuseport" "run" atomic;
    "tc"                  prefix SchedCls Network "tc" "run" atomic;
    "tcx"                 prefix SchedCls Network "tc" "run" atomic;
    "netkit"              prefix SchedCls Network "netkit" "run" atomic;
    "classifier"          prefix SchedCls Network "tc" "run" atomic;
    "action"              prefix SchedAct Network "action" "run" atomic;
    "xdp.frags"           prefix Xdp Network "xdp" "run" atomic;
    "xdp"                 prefix Xdp Network "xdp" "run" atomic;
    "xdp_devmap"          prefix Xdp Network "xdp" "run" atomic;
    "xdp_cpumap"          prefix Xdp Network "xdp" "run" atomic;
    "lwt_in"              prefix LwtIn Network "lwt_in" "run" atomic;
    "lwt_out"             prefix LwtOut Network "lwt_out" "run" atomic;
    "lwt_xmit"            prefix LwtXmit Network "lwt_xmit" "run" atomic;
    "lwt_seg6local"       prefix LwtSeg6local Network "lwt_seg6local" "run" atomic;
    "sockops"             prefix SockOps Network "sockops" "run" atomic;
    "sk_skb"              prefix SkSkb Network "sk_skb" "run" atomic;
    "sk_msg"              prefix SkMsg Network "sk_msg" "run" atomic;
    "lirc_mode2"          prefix LircMode2 Network "lirc_mode2" "run" atomic;
    "flow_dissector"      prefix FlowDissector Network "flow_dissector" "run" atomic;
    "cgroup_skb"          prefix CgroupSkb Network "cgroup_skb" "run" atomic;
    "cgroup/skb"          exact CgroupSkb Network "cgroup_skb" "run" atomic;
    "cgroup/sock"         exact CgroupSock Network "cgroup_sock" "run" atomic;
    "cgroup/sock_create"  exact CgroupSock Network "cgroup_sock" "run" atomic;
    "cgroup/sock_release" exact CgroupSock Network "cgroup_sock" "run" atomic;
    "cgroup/post_bind4"   exact CgroupSock Network "cgroup_sock" "run" atomic;
    "cgroup/post_bind6"   exact CgroupSock Network "cgroup_sock" "run" atomic;
    "cgroup/dev"          exact CgroupDevice Network "cgroup_dev" "run" atomic;
    "cgroup/sysctl"       exact CgroupSysctl Network "cgroup_sysctl" "run" atomic;
    "cgroup/getsockopt"   exact CgroupSockopt Network "cgroup_sockopt" "run" atomic;
    "cgroup/setsockopt"   exact CgroupSockopt Network "cgroup_sockopt" "run" atomic;
    "cgroup"              prefix CgroupSockAddr Network "cgroup_sock_addr" "run" atomic;
    "sk_lookup"           prefix SkLookup Network "sk_lookup" "run" atomic;
    "netfilter"           prefix Netfilter Network "netfilter" "run" atomic;
}

/// The row for section `name` and the target it names, if any. A leading `?` is not part of `name`.
pub fn find(name: &str) -> Option<(&'static Section, Option<&str>)> {
    SECTIONS.iter().find_map(|row| {
        let rest = name.strip_prefix(row.prefix)?;
        let target = match (rest, row.form) {
            ("", _) => return Some((row, None)),
            (_, Form::Exact) => return None,
            (rest, Form::Target) => rest.strip_prefix('/')?,
            (rest, Form::Loose) => rest.strip_prefix('/').unwrap_or(rest),
        };
        Some((row, (!target.is_empty()).then_some(target)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_own_prefix() {
        for row in SECTIONS {
            let (found, target) = find(row.prefix).unwrap();
            assert_eq!(found.prefix, row.prefix);
            assert_eq!(target, None);
        }
    }

    #[test]
    fn targets_are_split_off() {
        let (row, target) = find("kprobe/vfs_read").unwrap();
        assert_eq!((row.attach, target), (Attach::Kprobe, Some("vfs_read")));
        let (row, target) = find("tp/syscalls/sys_enter_openat").unwrap();
        assert_eq!(row.attach, Attach::Tracepoint);
        assert_eq!(target, Some("syscalls/sys_enter_openat"));
        let attach = |name| find(name).map(|(row, target)| (row.attach, target));
        let multi = Attach::KprobeMulti;
        assert_eq!(attach("kprobe.multi/vfs_*"), Some((multi, Some("vfs_*"))));
        let session = Attach::UprobeSession;
        assert_eq!(attach("uprobe.session/a:b"), Some((session, Some("a:b"))));
        assert_eq!(attach("socket1"), Some((Attach::Network, Some("1"))));
        assert_eq!(attach("socket/dns"), Some((Attach::Network, Some("dns"))));
        assert_eq!(
            find("sockops").map(|s| s.0.prog_type),
            Some(ProgType::SockOps)
        );
        assert!(find("kprobes/x").is_none());
        assert!(find("maps").is_none());
    }
}

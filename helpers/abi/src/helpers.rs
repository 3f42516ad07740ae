//! The helper table: every helper function of `enum bpf_func_id`, once.
//!
//! Imports of translated modules, host registration, argument checks, documentation and error
//! texts all derive from these rows. Ids are written out and never implied by position: they are
//! UAPI (`include/uapi/linux/bpf.h`, `___BPF_FUNC_MAPPER`); the argument kinds restate
//! `bpf_helper_defs.h` and the kernel's `struct bpf_func_proto`.
//!
//! **To add a helper**: add its row here, then its implementation in `helpers/src/calls/`, and `here` to its row: what this
//! version's runtimes provide is told from the table, by the translator too.

use crate::imports::{PACKET_LOADS, PROBE_LOADS};

/// What the kernel's prototype says an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A plain 64-bit value.
    Scalar,
    /// The number of bytes the preceding pointer argument may touch. Hostile like any other value.
    Size,
    /// The program's context pointer, unchanged.
    Ctx,
    /// A map handle (see [`crate::layout::MAP_TAG`]).
    Map,
    /// Guest memory of the map's `key_size` bytes, read.
    MapKey,
    /// Guest memory of the map's `value_size` bytes, read.
    MapValue,
    /// Guest memory of the map's `value_size` bytes, written.
    MapValueOut,
    /// Guest memory of the map's `value_size` bytes, read, or null.
    ValueOrNull,
    /// Guest memory inside a map value that the helper uses in place (locks, timers, kptrs).
    InMap,
    /// Guest memory the helper reads.
    In,
    /// Guest memory the helper writes.
    Out,
    /// Guest memory the helper reads and writes.
    InOut,
    /// A NUL-terminated string in guest memory.
    Str,
    /// A record that `ringbuf_reserve` returned.
    Record,
    /// A kernel object's address.
    Kernel,
    /// Any address at all; the helper reads it fault-safely.
    Unsafe,
    /// A translated function, as an index into the module's table.
    Callback,
    /// A value handed to the callback unchanged.
    Opaque,
}

/// What a helper leaves in `r0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// A number or a negative errno.
    Scalar,
    /// Nothing: `r0` is unreadable afterwards.
    Void,
    /// A map value in guest memory, or 0.
    MapValueOrNull,
    /// A ring-buffer record in guest memory, or 0.
    RecordOrNull,
    /// Other guest memory, or 0.
    MemOrNull,
    /// A kernel object's address.
    Kernel,
    /// A kernel object's address, or 0.
    KernelOrNull,
}

/// One row of [`HELPERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// The number in the `call` instruction's immediate.
    pub id: u32,
    /// The kernel's name without `bpf_`; also the wasm import's name.
    pub name: &'static str,
    /// The arguments, in `r1`, `r2`, … order; at most five.
    pub args: &'static [Arg],
    /// The result.
    pub ret: Ret,
    /// Whether the kernel offers it only to programs under a GPL-compatible licence.
    pub gpl_only: bool,
    /// Whether this version's runtimes provide it. Calling another one traps.
    pub provided: bool,
}

/// `bpf_tail_call`, which ends the program that calls it.
pub const TAIL_CALL: u32 = 12;
/// `map_lookup_elem`, which in an array is arithmetic.
pub const MAP_LOOKUP: u32 = 1;

/// The row of helper `id`, if the kernel has one.
pub fn by_id(id: u32) -> Option<&'static Helper> {
    HELPERS
        .binary_search_by_key(&id, |h| h.id)
        .ok()
        .map(|i| &HELPERS[i])
}

/// The row named `name` (without `bpf_`).
pub fn by_name(name: &str) -> Option<&'static Helper> {
    HELPERS.iter().find(|h| h.name == name)
}

/// Hands every row to `$callback!`, for lists that must have one item a helper.
#[macro_export]
macro_rules! for_each_helper {
    ($callback:ident) => {
        $callback! {
            1   map_lookup_elem                (Map, MapKey) -> MapValueOrNull, any here;
            2   map_update_elem                (Map, MapKey, MapValue, Scalar) -> Scalar, any here;
            3   map_delete_elem                (Map, MapKey) -> Scalar, any here;
            4   probe_read                     (Out, Size, Unsafe) -> Scalar, gpl here;
            5   ktime_get_ns                   () -> Scalar, any here;
            6   trace_printk                   (In, Size, Scalar, Scalar, Scalar) -> Scalar, gpl here;
            7   get_prandom_u32                () -> Scalar, any here;
            8   get_smp_processor_id           () -> Scalar, any here;
            9   skb_store_bytes                (Ctx, Scalar, In, Size, Scalar) -> Scalar, any;
            10  l3_csum_replace                (Ctx, Scalar, Scalar, Scalar, Scalar) -> Scalar, any;
            11  l4_csum_replace                (Ctx, Scalar, Scalar, Scalar, Scalar) -> Scalar, any;
            12  tail_call                      (Ctx, Map, Scalar) -> Scalar, any here;
            13  clone_redirect                 (Ctx, Scalar, Scalar) -> Scalar, any;
            14  get_current_pid_tgid           () -> Scalar, any here;
            15  get_current_uid_gid            () -> Scalar, any here;
            16  get_current_comm               (Out, Size) -> Scalar, any here;
            17  get_cgroup_classid             (Ctx) -> Scalar, any;
            18  skb_vlan_push                  (Ctx, Scalar, Scalar) -> Scalar, any;
            19  skb_vlan_pop                   (Ctx) -> Scalar, any;
            20  skb_get_tunnel_key             (Ctx, Out, Size, Scalar) -> Scalar, any;
            21  skb_set_tunnel_key             (Ctx, In, Size, Scalar) -> Scalar, any;
            22  perf_event_read                (Map, Scalar) -> Scalar, gpl;
            23  redirect                       (Scalar, Scalar) -> Scalar, any;
            24  get_route_realm                (Ctx) -> Scalar, any;
            25  perf_event_output              (Ctx, Map, Scalar, In, Size) -> Scalar, gpl here;
            26  skb_load_bytes                 (Ctx, Scalar, Out, Size) -> Scalar, any;
            27  get_stackid                    (Ctx, Map, Scalar) -> Scalar, gpl here;
            28  csum_diff                      (In, Size, In, Size, Scalar) -> Scalar, any;
            29  skb_get_tunnel_opt             (Ctx, Out, Size) -> Scalar, any;
            30  skb_set_tunnel_opt             (Ctx, In, Size) -> Scalar, any;
            31  skb_change_proto               (Ctx, Scalar, Scalar) -> Scalar, any;
            32  skb_change_type                (Ctx, Scalar) -> Scalar, any;
            33  skb_under_cgroup               (Ctx, Map, Scalar) -> Scalar, any;
            34  get_hash_recalc                (Ctx) -> Scalar, any;
            35  get_current_task               () -> Scalar, gpl here;
            36  probe_write_user               (Unsafe, In, Size) -> Scalar, gpl;
            37  current_task_under_cgroup      (Map, Scalar) -> Scalar, any here;
            38  skb_change_tail                (Ctx, Scalar, Scalar) -> Scalar, any;
            39  skb_pull_data                  (Ctx, Scalar) -> Scalar, any;
            40  csum_update                    (Ctx, Scalar) -> Scalar, any;
            41  set_hash_invalid               (Ctx) -> Void, any;
            42  get_numa_node_id               () -> Scalar, any here;
            43  skb_change_head                (Ctx, Scalar, Scalar) -> Scalar, any;
            44  xdp_adjust_head                (Ctx, Scalar) -> Scalar, any;
            45  probe_read_str                 (Out, Size, Unsafe) -> Scalar, gpl here;
            46  get_socket_cookie              (Ctx) -> Scalar, any;
            47  get_socket_uid                 (Ctx) -> Scalar, any;
            48  set_hash                       (Ctx, Scalar) -> Scalar, any;
            49  setsockopt                     (Ctx, Scalar, Scalar, In, Size) -> Scalar, any;
            50  skb_adjust_room                (Ctx, Scalar, Scalar, Scalar) -> Scalar, any;
            51  redirect_map                   (Map, Scalar, Scalar) -> Scalar, any;
            52  sk_redirect_map                (Ctx, Map, Scalar, Scalar) -> Scalar, any;
            53  sock_map_update                (Ctx, Map, MapKey, Scalar) -> Scalar, any;
            54  xdp_adjust_meta                (Ctx, Scalar) -> Scalar, any;
            55  perf_event_read_value          (Map, Scalar, Out, Size) -> Scalar, gpl;
            56  perf_prog_read_value           (Ctx, Out, Size) -> Scalar, gpl;
            57  getsockopt                     (Ctx, Scalar, Scalar, Out, Size) -> Scalar, any;
            58  override_return                (Ctx, Scalar) -> Scalar, gpl;
            59  sock_ops_cb_flags_set          (Ctx, Scalar) -> Scalar, any;
            60  msg_redirect_map               (Ctx, Map, Scalar, Scalar) -> Scalar, any;
            61  msg_apply_bytes                (Ctx, Scalar) -> Scalar, any;
            62  msg_cork_bytes                 (Ctx, Scalar) -> Scalar, any;
            63  msg_pull_data                  (Ctx, Scalar, Scalar, Scalar) -> Scalar, any;
            64  bind                           (Ctx, In, Size) -> Scalar, any;
            65  xdp_adjust_tail                (Ctx, Scalar) -> Scalar, any;
            66  skb_get_xfrm_state             (Ctx, Scalar, Out, Size, Scalar) -> Scalar, any;
            67  get_stack                      (Ctx, Out, Size, Scalar) -> Scalar, gpl here;
            68  skb_load_bytes_relative        (Ctx, Scalar, Out, Size, Scalar) -> Scalar, any;
            69  fib_lookup                     (Ctx, InOut, Size, Scalar) -> Scalar, any;
            70  sock_hash_update               (Ctx, Map, MapKey, Scalar) -> Scalar, any;
            71  msg_redirect_hash              (Ctx, Map, MapKey, Scalar) -> Scalar, any;
            72  sk_redirect_hash               (Ctx, Map, MapKey, Scalar) -> Scalar, any;
            73  lwt_push_encap                 (Ctx, Scalar, In, Size) -> Scalar, any;
            74  lwt_seg6_store_bytes           (Ctx, Scalar, In, Size) -> Scalar, any;
            75  lwt_seg6_adjust_srh            (Ctx, Scalar, Scalar) -> Scalar, any;
            76  lwt_seg6_action                (Ctx, Scalar, In, Size) -> Scalar, any;
            77  rc_repeat                      (Ctx) -> Scalar, any;
            78  rc_keydown                     (Ctx, Scalar, Scalar, Scalar) -> Scalar, any;
            79  skb_cgroup_id                  (Ctx) -> Scalar, any;
            80  get_current_cgroup_id          () -> Scalar, any here;
            81  get_local_storage              (Map, Scalar) -> MapValueOrNull, any;
            82  sk_select_reuseport            (Ctx, Map, MapKey, Scalar) -> Scalar, any;
            83  skb_ancestor_cgroup_id         (Ctx, Scalar) -> Scalar, any;
            84  sk_lookup_tcp                  (Ctx, In, Size, Scalar, Scalar) -> KernelOrNull, any;
            85  sk_lookup_udp                  (Ctx, In, Size, Scalar, Scalar) -> KernelOrNull, any;
            86  sk_release                     (Kernel) -> Scalar, any;
            87  map_push_elem                  (Map, MapValue, Scalar) -> Scalar, any here;
            88  map_pop_elem                   (Map, MapValueOut) -> Scalar, any here;
            89  map_peek_elem                  (Map, MapValueOut) -> Scalar, any here;
            90  msg_push_data                  (Ctx, Scalar, Scalar, Scalar) -> Scalar, any;
            91  msg_pop_data                   (Ctx, Scalar, Scalar, Scalar) -> Scalar, any;
            92  rc_pointer_rel                 (Ctx, Scalar, Scalar) -> Scalar, any;
            93  spin_lock                      (InMap) -> Scalar, any here;
            94  spin_unlock                    (InMap) -> Scalar, any here;
            95  sk_fullsock                    (Kernel) -> KernelOrNull, any;
            96  tcp_sock                       (Kernel) -> KernelOrNull, any;
            97  skb_ecn_set_ce                 (Ctx) -> Scalar, any;
            98  get_listener_sock              (Kernel) -> KernelOrNull, any;
            99  skc_lookup_tcp                 (Ctx, In, Size, Scalar, Scalar) -> KernelOrNull, any;
            100 tcp_check_syncookie            (Kernel, In, Size, In, Size) -> Scalar, any;
            101 sysctl_get_name                (Ctx, Out, Size, Scalar) -> Scalar, any;
            102 sysctl_get_current_value       (Ctx, Out, Size) -> Scalar, any;
            103 sysctl_get_new_value           (Ctx, Out, Size) -> Scalar, any;
            104 sysctl_set_new_value           (Ctx, In, Size) -> Scalar, any;
            105 strtol                         (In, Size, Scalar, Out) -> Scalar, any here;
            106 strtoul                        (In, Size, Scalar, Out) -> Scalar, any here;
            107 sk_storage_get                 (Map, Kernel, ValueOrNull, Scalar) -> MapValueOrNull, any;
            108 sk_storage_delete              (Map, Kernel) -> Scalar, any;
            109 send_signal                    (Scalar) -> Scalar, any here;
            110 tcp_gen_syncookie              (Kernel, In, Size, In, Size) -> Scalar, any;
            111 skb_output                     (Ctx, Map, Scalar, In, Size) -> Scalar, gpl;
            112 probe_read_user                (Out, Size, Unsafe) -> Scalar, gpl here;
            113 probe_read_kernel              (Out, Size, Unsafe) -> Scalar, gpl here;
            114 probe_read_user_str            (Out, Size, Unsafe) -> Scalar, gpl here;
            115 probe_read_kernel_str          (Out, Size, Unsafe) -> Scalar, gpl here;
            116 tcp_send_ack                   (Kernel, Scalar) -> Scalar, any;
            117 send_signal_thread             (Scalar) -> Scalar, any here;
            118 jiffies64                      () -> Scalar, any here;
            119 read_branch_records            (Ctx, Out, Size, Scalar) -> Scalar, gpl;
            120 get_ns_current_pid_tgid        (Scalar, Scalar, Out, Size) -> Scalar, any here;
            121 xdp_output                     (Ctx, Map, Scalar, In, Size) -> Scalar, gpl;
            122 get_netns_cookie               (Ctx) -> Scalar, any;
            123 get_current_ancestor_cgroup_id (Scalar) -> Scalar, any here;
            124 sk_assign                      (Ctx, Kernel, Scalar) -> Scalar, any;
            125 ktime_get_boot_ns              () -> Scalar, any here;
            126 seq_printf                     (Kernel, In, Size, In, Size) -> Scalar, gpl;
            127 seq_write                      (Kernel, In, Size) -> Scalar, gpl;
            128 sk_cgroup_id                   (Kernel) -> Scalar, any;
            129 sk_ancestor_cgroup_id          (Kernel, Scalar) -> Scalar, any;
            130 ringbuf_output                 (Map, In, Size, Scalar) -> Scalar, any here;
            131 ringbuf_reserve                (Map, Scalar, Scalar) -> RecordOrNull, any here;
            132 ringbuf_submit                 (Record, Scalar) -> Void, any here;
            133 ringbuf_discard                (Record, Scalar) -> Void, any here;
            134 ringbuf_query                  (Map, Scalar) -> Scalar, any here;
            135 csum_level                     (Ctx, Scalar) -> Scalar, any;
            136 skc_to_tcp6_sock               (Kernel) -> KernelOrNull, any;
            137 skc_to_tcp_sock                (Kernel) -> KernelOrNull, any;
            138 skc_to_tcp_timewait_sock       (Kernel) -> KernelOrNull, any;
            139 skc_to_tcp_request_sock        (Kernel) -> KernelOrNull, any;
            140 skc_to_udp6_sock               (Kernel) -> KernelOrNull, any;
            141 get_task_stack                 (Kernel, Out, Size, Scalar) -> Scalar, any here;
            142 load_hdr_opt                   (Ctx, InOut, Size, Scalar) -> Scalar, any;
            143 store_hdr_opt                  (Ctx, In, Size, Scalar) -> Scalar, any;
            144 reserve_hdr_opt                (Ctx, Scalar, Scalar) -> Scalar, any;
            145 inode_storage_get              (Map, Kernel, ValueOrNull, Scalar) -> MapValueOrNull, any;
            146 inode_storage_delete           (Map, Kernel) -> Scalar, any;
            147 d_path                         (Kernel, Out, Size) -> Scalar, any here;
            148 copy_from_user                 (Out, Size, Unsafe) -> Scalar, any here;
            149 snprintf_btf                   (Out, Size, In, Size, Scalar) -> Scalar, any;
            150 seq_printf_btf                 (Kernel, In, Size, Scalar) -> Scalar, gpl;
            151 skb_cgroup_classid             (Ctx) -> Scalar, any;
            152 redirect_neigh                 (Scalar, In, Size, Scalar) -> Scalar, any;
            153 per_cpu_ptr                    (Kernel, Scalar) -> Kernel, any here;
            154 this_cpu_ptr                   (Kernel) -> Kernel, any here;
            155 redirect_peer                  (Scalar, Scalar) -> Scalar, any;
            156 task_storage_get               (Map, Kernel, ValueOrNull, Scalar) -> MapValueOrNull, any here;
            157 task_storage_delete            (Map, Kernel) -> Scalar, any here;
            158 get_current_task_btf           () -> Kernel, gpl here;
            159 bprm_opts_set                  (Kernel, Scalar) -> Scalar, any;
            160 ktime_get_coarse_ns            () -> Scalar, any here;
            161 ima_inode_hash                 (Kernel, Out, Size) -> Scalar, any;
            162 sock_from_file                 (Kernel) -> KernelOrNull, any;
            163 check_mtu                      (Ctx, Scalar, InOut, Scalar, Scalar) -> Scalar, any;
            164 for_each_map_elem              (Map, Callback, Opaque, Scalar) -> Scalar, any here;
            165 snprintf                       (Out, Size, Str, In, Size) -> Scalar, any here;
            166 sys_bpf                        (Scalar, InOut, Size) -> Scalar, any;
            167 btf_find_by_name_kind          (In, Size, Scalar, Scalar) -> Scalar, any;
            168 sys_close                      (Scalar) -> Scalar, any;
            169 timer_init                     (InMap, Map, Scalar) -> Scalar, any;
            170 timer_set_callback             (InMap, Callback) -> Scalar, any;
            171 timer_start                    (InMap, Scalar, Scalar) -> Scalar, any;
            172 timer_cancel                   (InMap) -> Scalar, any;
            173 get_func_ip                    (Ctx) -> Scalar, gpl here;
            174 get_attach_cookie              (Ctx) -> Scalar, any here;
            175 task_pt_regs                   (Kernel) -> Kernel, gpl here;
            176 get_branch_snapshot            (Out, Size, Scalar) -> Scalar, gpl;
            177 trace_vprintk                  (In, Size, In, Size) -> Scalar, gpl here;
            178 skc_to_unix_sock               (Kernel) -> KernelOrNull, any;
            179 kallsyms_lookup_name           (In, Size, Scalar, Out) -> Scalar, any;
            180 find_vma                       (Kernel, Scalar, Callback, Opaque, Scalar) -> Scalar, any;
            181 loop                           (Scalar, Callback, Opaque, Scalar) -> Scalar, any here;
            182 strncmp                        (In, Size, Str) -> Scalar, any here;
            183 get_func_arg                   (Ctx, Scalar, Out) -> Scalar, any here;
            184 get_func_ret                   (Ctx, Out) -> Scalar, any here;
            185 get_func_arg_cnt               (Ctx) -> Scalar, any here;
            186 get_retval                     () -> Scalar, any;
            187 set_retval                     (Scalar) -> Scalar, any;
            188 xdp_get_buff_len               (Ctx) -> Scalar, any;
            189 xdp_load_bytes                 (Ctx, Scalar, Out, Size) -> Scalar, any;
            190 xdp_store_bytes                (Ctx, Scalar, In, Size) -> Scalar, any;
            191 copy_from_user_task            (Out, Size, Unsafe, Kernel, Scalar) -> Scalar, gpl;
            192 skb_set_tstamp                 (Ctx, Scalar, Scalar) -> Scalar, any;
            193 ima_file_hash                  (Kernel, Out, Size) -> Scalar, any;
            194 kptr_xchg                      (InMap, Kernel) -> KernelOrNull, any;
            195 map_lookup_percpu_elem         (Map, MapKey, Scalar) -> MapValueOrNull, any here;
            196 skc_to_mptcp_sock              (Kernel) -> KernelOrNull, any;
            197 dynptr_from_mem                (In, Size, Scalar, Out) -> Scalar, any here;
            198 ringbuf_reserve_dynptr         (Map, Scalar, Scalar, Out) -> Scalar, any here;
            199 ringbuf_submit_dynptr          (InOut, Scalar) -> Void, any here;
            200 ringbuf_discard_dynptr         (InOut, Scalar) -> Void, any here;
            201 dynptr_read                    (Out, Size, In, Scalar, Scalar) -> Scalar, any here;
            202 dynptr_write                   (In, Scalar, In, Size, Scalar) -> Scalar, any here;
            203 dynptr_data                    (In, Scalar, Scalar) -> MemOrNull, any here;
            204 tcp_raw_gen_syncookie_ipv4     (In, In, Size) -> Scalar, any;
            205 tcp_raw_gen_syncookie_ipv6     (In, In, Size) -> Scalar, any;
            206 tcp_raw_check_syncookie_ipv4   (In, In) -> Scalar, any;
            207 tcp_raw_check_syncookie_ipv6   (In, In) -> Scalar, any;
            208 ktime_get_tai_ns               () -> Scalar, any here;
            209 user_ringbuf_drain             (Map, Callback, Ctx, Scalar) -> Scalar, any;
            210 cgrp_storage_get               (Map, Kernel, ValueOrNull, Scalar) -> MapValueOrNull, any;
            211 cgrp_storage_delete            (Map, Kernel) -> Scalar, any;
        }
    };
}

macro_rules! table {
    ($($id:literal $name:ident ($($arg:ident),*) -> $ret:ident, $gate:ident $($here:ident)?;)*) => {
        /// Every helper, by increasing id.
        pub const HELPERS: &[Helper] = &[$(Helper {
            id: $id,
            name: stringify!($name),
            args: &[$(Arg::$arg),*],
            ret: Ret::$ret,
            gpl_only: gate!($gate),
            provided: here!($($here)?),
        }),*];
    };
}

macro_rules! gate {
    (gpl) => {
        true
    };
    (any) => {
        false
    };
}

macro_rules! here {
    (here) => {
        true
    };
    () => {
        false
    };
}

for_each_helper!(table);

/// Every kernel function that this version's runtimes provide.
pub const KFUNCS: &[&str] = &[
    "bpf_task_from_pid",
    "bpf_task_acquire",
    "bpf_task_release",
    "bpf_cast_to_kern_ctx",
    "bpf_rdonly_cast",
    "bpf_rcu_read_lock",
    "bpf_rcu_read_unlock",
    "bpf_iter_num_new",
    "bpf_iter_num_next",
    "bpf_iter_num_destroy",
    "bpf_dynptr_adjust",
    "bpf_dynptr_is_null",
    "bpf_dynptr_is_rdonly",
    "bpf_dynptr_size",
    "bpf_dynptr_clone",
    "bpf_dynptr_slice",
];

/// Kernel functions that translated code does by itself: whose programs are of a session. There is no import for them.
pub const SESSION_IS_RETURN: &str = "bpf_session_is_return";
/// As [`SESSION_IS_RETURN`].
pub const SESSION_COOKIE: &str = "bpf_session_cookie";

/// Whether programs may call the kernel function `name`.
pub fn is_kfunc(name: &str) -> bool {
    KFUNCS.contains(&name) || [SESSION_IS_RETURN, SESSION_COOKIE].contains(&name)
}

/// Whether this version's runtimes provide the function that a module imports as `module.name`.
pub fn is_provided(module: &str, name: &str) -> bool {
    match module {
        crate::imports::BPF => by_name(name).map_or_else(|| is_load(name), |row| row.provided),
        crate::imports::KFUNC => is_kfunc(name),
        _ => true,
    }
}

/// Licences under which the kernel offers everything (`license_is_gpl_compatible`).
pub const GPL_COMPATIBLE: &[&str] = &[
    "GPL",
    "GPL v2",
    "GPL and additional rights",
    "Dual BSD/GPL",
    "Dual MIT/GPL",
    "Dual MPL/GPL",
];

/// Whether a program under `licence` may call what is [`Helper::gpl_only`], and kernel functions.
pub fn is_gpl_compatible(licence: &str) -> bool {
    GPL_COMPATIBLE.contains(&licence)
}

/// Whether only programs under a GPL-compatible licence may import `module.name`: helpers that say so, and kernel functions.
pub fn is_gpl_only(module: &str, name: &str) -> bool {
    match module {
        crate::imports::BPF => by_name(name).is_some_and(|row| row.gpl_only),
        crate::imports::KFUNC => true,
        _ => false,
    }
}

/// Whether `bpf.name` is no helper, but a load that translated code has done for it.
fn is_load(name: &str) -> bool {
    let mut loads = PROBE_LOADS.iter().chain(PACKET_LOADS);
    loads.any(|row| row.0 == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_and_names_are_unique() {
        assert!(HELPERS.windows(2).all(|w| w[0].id < w[1].id));
        for helper in HELPERS {
            assert_eq!(by_name(helper.name), Some(helper), "{}", helper.name);
            assert_eq!(by_id(helper.id), Some(helper));
        }
    }

    #[test]
    fn a_size_follows_a_pointer_and_nobody_takes_more_than_five() {
        for helper in HELPERS {
            assert!(helper.args.len() <= 5, "{}", helper.name);
            for (i, arg) in helper.args.iter().enumerate() {
                let sized = *arg != Arg::Size
                    || matches!(
                        (i > 0).then(|| helper.args[i - 1]),
                        Some(Arg::In | Arg::Out | Arg::InOut | Arg::Str)
                    );
                assert!(sized, "{}: argument {i}", helper.name);
            }
        }
    }
}

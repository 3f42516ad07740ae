//! What the wasm runtime provides of what programs look for before they use it: helpers, kernel functions, types of maps and of
//! programs.
//!
//! A program asks the kernel's BTF whether there is a helper, by `enum bpf_func_id`, and else takes another way. What runs it is
//! not that kernel's eBPF: so the runtime answers, by the contract's tables. It says yes also where an old kernel has no
//! such thing, because what it provides is its own code, on every kernel. Native programs are asked nothing of this: libbpf and
//! the kernel answer for them.

use abi::helpers::{by_name, is_kfunc};
use abi::map_types::MapType;

/// What a program may look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feature {
    Helper(&'static str),
    Kfunc(&'static str),
    Map(MapType),
}

use Feature::{Helper, Kfunc, Map};

/// Types of the kernel by which programs look for what uses them. (Iterators: `struct bpf_iter_NAME` and a function
/// `bpf_iter_NAME_new`.)
const TYPES: &[(&str, Feature)] = &[
    ("bpf_arena", Map(MapType::Arena)),
    ("bpf_bloom_filter", Map(MapType::BloomFilter)),
    ("bpf_cpumask", Kfunc("bpf_cpumask_create")),
    ("bpf_crypto_ctx", Kfunc("bpf_crypto_ctx_create")),
    ("bpf_dynptr", Helper("dynptr_read")),
    ("bpf_dynptr_kern", Helper("dynptr_read")),
    ("bpf_iter_bits", Kfunc("bpf_iter_bits_new")),
    ("bpf_iter_css", Kfunc("bpf_iter_css_new")),
    ("bpf_iter_css_task", Kfunc("bpf_iter_css_task_new")),
    ("bpf_iter_num", Kfunc("bpf_iter_num_new")),
    ("bpf_iter_task", Kfunc("bpf_iter_task_new")),
    ("bpf_iter_task_vma", Kfunc("bpf_iter_task_vma_new")),
    ("bpf_list_head", Kfunc("bpf_list_push_front_impl")),
    ("bpf_rb_root", Kfunc("bpf_rbtree_add_impl")),
    ("bpf_refcount", Kfunc("bpf_refcount_acquire_impl")),
    ("bpf_ringbuf", Map(MapType::Ringbuf)),
    ("bpf_spin_lock", Helper("spin_lock")),
    ("bpf_timer", Helper("timer_init")),
    ("bpf_wq", Kfunc("bpf_wq_init")),
    ("btf_ptr", Helper("snprintf_btf")),
];

/// What programs may be: names of `enum bpf_prog_type` and `enum bpf_attach_type`.
const PROGRAMS: &[&str] = &[
    "BPF_PROG_TYPE_KPROBE",
    "BPF_PROG_TYPE_PERF_EVENT",
    "BPF_PROG_TYPE_RAW_TRACEPOINT",
    "BPF_PROG_TYPE_TRACEPOINT",
    "BPF_PROG_TYPE_TRACING",
    "BPF_MODIFY_RETURN",
    "BPF_PERF_EVENT",
    "BPF_TRACE_FENTRY",
    "BPF_TRACE_FEXIT",
    "BPF_TRACE_RAW_TP",
];

impl Feature {
    fn is_provided(self) -> bool {
        match self {
            Helper(name) => helper(name),
            Kfunc(name) => kfunc(name),
            Map(map_type) => map_type.is_provided(),
        }
    }
}

fn helper(name: &str) -> bool {
    by_name(name).is_some_and(|row| row.provided)
}

/// Whether there is the kernel function `name`.
pub(crate) fn kfunc(name: &str) -> bool {
    is_kfunc(name)
}

/// Whether there is what `name` of the enumeration `of` stands for; `None` where that is not for the runtime to say.
pub(crate) fn enumerator(of: &str, name: &str) -> Option<bool> {
    Some(match of {
        "bpf_func_id" => match name.strip_prefix("BPF_FUNC_")? {
            "unspec" => return None,
            name => helper(name),
        },
        "bpf_map_type" => match name.strip_prefix("BPF_MAP_TYPE_")? {
            "UNSPEC" => return None,
            name => map_type(name).is_some_and(MapType::is_provided),
        },
        "bpf_prog_type" if name.ends_with("_UNSPEC") => return None,
        "bpf_prog_type" | "bpf_attach_type" if name.starts_with("BPF_") => PROGRAMS.contains(&name),
        _ => return None,
    })
}

/// The number of what `name` of the enumeration `of` stands for, if that is provided: a kernel that has no such thing has no
/// such number either.
pub(crate) fn number(of: &str, name: &str) -> Option<u64> {
    enumerator(of, name).filter(|is_provided| *is_provided)?;
    match of {
        "bpf_func_id" => {
            let row = by_name(name.strip_prefix("BPF_FUNC_")?)?;
            Some(u64::from(row.id))
        }
        "bpf_map_type" => Some(map_type(name.strip_prefix("BPF_MAP_TYPE_")?)? as u64),
        _ => None,
    }
}

/// Whether there is what programs look for by the type `name`; `None` where that is not for the runtime to say.
pub(crate) fn ty(name: &str) -> Option<bool> {
    // What `BPF_CALL_1` and its like name after the function of a helper.
    if let Some(row) = name.strip_prefix("btf_bpf_").and_then(by_name) {
        return Some(helper(row.name));
    }
    let row = TYPES.iter().find(|(ty, _)| *ty == name);
    row.map(|(_, feature)| feature.is_provided())
}

fn map_type(name: &str) -> Option<MapType> {
    let mut types = MapType::ALL.iter();
    types
        .find(|ty| ty.name().eq_ignore_ascii_case(name))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_implemented_is_there() {
        for (of, name, provided) in [
            ("bpf_func_id", "BPF_FUNC_map_lookup_elem", Some(true)),
            ("bpf_func_id", "BPF_FUNC_ktime_get_tai_ns", Some(true)),
            ("bpf_func_id", "BPF_FUNC_xdp_output", Some(false)),
            ("bpf_func_id", "BPF_FUNC_of_a_later_kernel", Some(false)),
            ("bpf_func_id", "BPF_FUNC_unspec", None),
            ("bpf_func_id", "__BPF_FUNC_MAX_ID", None),
            ("bpf_map_type", "BPF_MAP_TYPE_RINGBUF", Some(true)),
            ("bpf_map_type", "BPF_MAP_TYPE_XSKMAP", Some(false)),
            (
                "bpf_map_type",
                "BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED",
                Some(false),
            ),
            ("bpf_map_type", "BPF_MAP_TYPE_UNSPEC", None),
            ("bpf_prog_type", "BPF_PROG_TYPE_TRACING", Some(true)),
            ("bpf_prog_type", "BPF_PROG_TYPE_XDP", Some(false)),
            ("bpf_attach_type", "BPF_TRACE_FENTRY", Some(true)),
            ("bpf_attach_type", "BPF_XDP", Some(false)),
            ("pid_type", "PIDTYPE_SID", None),
        ] {
            assert_eq!(enumerator(of, name), provided, "{name}");
        }
        assert_eq!(
            number("bpf_func_id", "BPF_FUNC_ktime_get_tai_ns"),
            Some(208)
        );
        assert_eq!(number("bpf_func_id", "BPF_FUNC_xdp_output"), None);
        assert_eq!(number("bpf_map_type", "BPF_MAP_TYPE_RINGBUF"), Some(27));
        assert_eq!(ty("bpf_ringbuf"), Some(true));
        assert_eq!(ty("bpf_arena"), Some(false));
        assert_eq!(ty("btf_bpf_get_current_comm"), Some(true));
        assert_eq!(ty("btf_bpf_xdp_output"), Some(false));
        assert_eq!(ty("task_struct"), None);
        assert!(kfunc("bpf_rcu_read_lock") && !kfunc("bpf_cpumask_create"));
    }

    #[test]
    fn features_are_named_as_the_kernel_does() {
        for (_, feature) in TYPES {
            if let Helper(name) = feature {
                assert!(by_name(name).is_some(), "{name}");
            }
        }
        assert!(TYPES.is_sorted_by_key(|(name, _)| *name));
        assert!(
            MapType::ALL
                .iter()
                .all(|ty| map_type(ty.name()) == Some(*ty))
        );
    }
}

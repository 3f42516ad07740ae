/* Programs ask before they use something, and have another way. Of each question, how often which way was taken: what is there
 * is one runtime's own business, that neither way ends the run is not. */
#include "kernel.h"

#define CORE __attribute__((preserve_access_index))

enum bpf_func_id___asked {
	BPF_FUNC_ktime_get_boot_ns___asked = 1,
	BPF_FUNC_snprintf_btf___asked,
	BPF_FUNC_of_no_kernel___asked,
};
enum bpf_map_type___asked {
	BPF_MAP_TYPE_RINGBUF___asked = 1,
	BPF_MAP_TYPE_USER_RINGBUF___asked,
};
enum bpf_prog_type___asked { BPF_PROG_TYPE_TRACING___asked = 1, BPF_PROG_TYPE_XDP___asked };
enum bpf_attach_type___asked { BPF_TRACE_FENTRY___asked = 1 };

struct bpf_ringbuf {} CORE;
struct bpf_cpumask {} CORE;
struct of_no_kernel {} CORE;
struct task_struct {
	int pid;
} CORE;
struct task_struct___asked {
	int of_no_kernel;
} CORE;
struct btf_ptr {
	void *ptr;
	__u32 type_id;
	__u32 flags;
};

extern struct task_struct *bpf_task_acquire(struct task_struct *task) __ksym __weak;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;
/* One flavour is as kernels have it, the other as none has. */
extern void bpf_rcu_read_lock___right(void) __ksym __weak;
extern void bpf_rcu_read_lock___wrong(int one, int more) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern struct bpf_cpumask *bpf_cpumask_create(void) __ksym __weak;
extern void bpf_cpumask_release(struct bpf_cpumask *cpumask) __ksym __weak;
extern void of_no_kernel(void) __ksym __weak;
extern const void init_task __ksym __weak;
extern const void symbol_of_no_kernel __ksym __weak;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct ways {
	__u64 there, other;
} ways[20];
__u64 runs, seen;
char text[64];

static __always_inline void took(int question, bool there)
{
	__sync_fetch_and_add(there ? &ways[question].there : &ways[question].other, 1);
}

/* kernel functions that every kind of program may call have fentry programs, too */
SEC("fentry/__x64_sys_getpgid")
int asks(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf(), *held;
	struct task_struct___asked *asked = (void *)task;
	struct btf_ptr pointer = { .ptr = task };
	struct bpf_cpumask *cpumask;
	void *record;

	__sync_fetch_and_add(&runs, 1);
	if (bpf_core_enum_value_exists(enum bpf_func_id___asked, BPF_FUNC_ktime_get_boot_ns___asked)) {
		seen = bpf_ktime_get_boot_ns();
		took(0, 1);
	} else {
		took(0, 0);
	}
	if (bpf_core_enum_value_exists(enum bpf_func_id___asked, BPF_FUNC_snprintf_btf___asked)) {
		pointer.type_id = bpf_core_type_id_kernel(struct task_struct);
		bpf_snprintf_btf(text, sizeof(text), &pointer, sizeof(pointer), 0);
		took(1, 1);
	} else {
		took(1, 0);
	}
	took(2, bpf_core_enum_value_exists(enum bpf_func_id___asked, BPF_FUNC_of_no_kernel___asked));
	if (bpf_core_enum_value_exists(enum bpf_map_type___asked, BPF_MAP_TYPE_RINGBUF___asked)) {
		record = bpf_ringbuf_reserve(&ring, 8, 0);
		if (record)
			bpf_ringbuf_discard(record, 0);
		took(3, 1);
	} else {
		took(3, 0);
	}
	took(4, bpf_core_enum_value_exists(enum bpf_map_type___asked, BPF_MAP_TYPE_USER_RINGBUF___asked));
	took(5, bpf_core_enum_value_exists(enum bpf_prog_type___asked, BPF_PROG_TYPE_TRACING___asked));
	took(6, bpf_core_enum_value_exists(enum bpf_prog_type___asked, BPF_PROG_TYPE_XDP___asked));
	took(7, bpf_core_enum_value_exists(enum bpf_attach_type___asked, BPF_TRACE_FENTRY___asked));
	took(8, bpf_core_type_exists(struct bpf_ringbuf));
	took(9, bpf_core_type_exists(struct of_no_kernel));
	if (bpf_core_field_exists(asked->of_no_kernel)) {
		seen = asked->of_no_kernel;
		took(10, 1);
	} else {
		took(10, 0);
	}
	if (bpf_core_field_exists(task->pid)) {
		seen = task->pid;
		took(11, 1);
	} else {
		took(11, 0);
	}
	took(12, &init_task != 0);
	took(13, &symbol_of_no_kernel != 0);
	if (bpf_task_acquire && bpf_task_release) {
		held = bpf_task_acquire(task);
		if (held)
			bpf_task_release(held);
		took(14, 1);
	} else {
		took(14, 0);
	}
	if (bpf_rcu_read_lock___right && bpf_rcu_read_unlock) {
		bpf_rcu_read_lock___right();
		bpf_rcu_read_unlock();
		took(15, 1);
	} else {
		took(15, 0);
	}
	if (bpf_rcu_read_lock___wrong) {
		bpf_rcu_read_lock___wrong(1, 2);
		took(16, 1);
	} else {
		took(16, 0);
	}
	if (bpf_cpumask_create && bpf_cpumask_release && bpf_core_type_exists(struct bpf_cpumask)) {
		cpumask = bpf_cpumask_create();
		if (cpumask)
			bpf_cpumask_release(cpumask);
		took(17, 1);
	} else {
		took(17, 0);
	}
	if (of_no_kernel) {
		of_no_kernel();
		took(18, 1);
	} else {
		took(18, 0);
	}
	took(19, bpf_core_type_exists(struct bpf_cpumask));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

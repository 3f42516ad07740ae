// Every kind of definition and reference that libbpf's front end knows, in one object.
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, long);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &first, [1] = &second } };

int tail(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(void *));
} programs SEC(".maps") = { .values = { [1] = (void *)&tail } };

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF __kconfig __weak;
extern const void bpf_prog_active __ksym;
extern struct task_struct *bpf_task_from_pid(int pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym __weak;

static long total;
const volatile int limit = 3;
char LICENSE[] SEC("license") = "GPL";

static int callback(__u32 i, void *unused)
{
	total += i;
	return i > limit;
}

SEC("kprobe/f")
int head(void *ctx)
{
	int key = 0;
	void *map;
	long *value;

	bpf_loop(10, callback, 0, 0);
	map = bpf_map_lookup_elem(&outer, &key);
	value = map ? bpf_map_lookup_elem(map, &key) : 0;
	if (value)
		__sync_fetch_and_add(value, 1);
	bpf_tail_call(ctx, &programs, 1);
	return LINUX_KERNEL_VERSION + CONFIG_BPF;
}

SEC("kprobe/g")
int tail(void *ctx)
{
	struct task_struct *task = bpf_task_from_pid(1);

	if (task) {
		total += task->pid;
		if (bpf_task_release)
			bpf_task_release(task);
	}
	return (long)&bpf_prog_active >> 32;
}

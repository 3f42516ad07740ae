/* Clocks: the test reads the same ones before and after. */
#include "calls.h"

__u64 times[8] SEC(".data.times") = { 1 }; /* two runtimes' cannot be equal: not in .bss */

SEC("kprobe/__x64_sys_getpgid")
int clocks(void *ctx)
{
	times[0] = bpf_ktime_get_ns();
	times[1] = bpf_ktime_get_boot_ns();
	times[2] = bpf_ktime_get_tai_ns();
	times[3] = bpf_jiffies64();
	CALL(input.number);
	return 0;
}

/* Natively for no tracing program. */
SEC("?socket")
int coarse(void *ctx)
{
	times[0] = bpf_ktime_get_coarse_ns();
	return 0;
}

SEC("?kprobe/__x64_sys_getpgid")
int coarse_in_probe(void *ctx)
{
	times[0] = bpf_ktime_get_coarse_ns();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

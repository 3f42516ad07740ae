/* Reads of kernel, user and own memory, good and bad: each round has an address and a size. */
#include "calls.h"

struct task_struct {
	char comm[16];
} __attribute__((preserve_access_index));

char large[8192];
const char word[] = "a word of the program's own";
char unended[16] = "0123456789abcdef";

static __always_inline const void *address(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return (void *)(input.address + (input.of_task ? (__u64)&task->comm : 0));
}

SEC("kprobe/__x64_sys_getpgid")
int reads(void *ctx)
{
	__u32 size = AT_MOST(input.size, BYTES);
	const void *from = address();

	CALL(bpf_probe_read(bytes, size, from));
	CALL(bpf_probe_read_kernel(bytes, size, from));
	CALL(bpf_probe_read_user(bytes, size, from));
	CALL(bpf_probe_read_str(bytes, size, from));
	CALL(bpf_probe_read_kernel_str(bytes, size, from));
	CALL(bpf_probe_read_user_str(bytes, size, from));
	return 0;
}

/* More than a page. */
SEC("kprobe/__x64_sys_getpgid")
int large_reads(void *ctx)
{
	__u32 size = AT_MOST(input.size, sizeof(large));
	const void *from = address();

	__builtin_memset(large, 0x5a, 512);
	switch (input.number % 6) {
	case 0:
		CALL(bpf_probe_read_user(large, size, from));
		break;
	case 1:
		CALL(bpf_probe_read_user_str(large, size, from));
		break;
	case 2:
		CALL(bpf_probe_read_kernel(large, size, from));
		break;
	case 3:
		CALL(bpf_probe_read_kernel_str(large, size, from));
		break;
	case 4:
		CALL(bpf_probe_read(large, size, from));
		break;
	default:
		CALL(bpf_probe_read_str(large, size, from));
	}
	return 0;
}

/* The program's stack, its maps and its constants are kernel memory. */
SEC("kprobe/__x64_sys_getpgid")
int own_reads(void *ctx)
{
	__u32 size = AT_MOST(input.size, BYTES);
	char local[24] = "on the stack";

	CALL(bpf_probe_read_kernel(bytes, AT_MOST(size, 16), local));
	CALL(bpf_probe_read_kernel_str(bytes, AT_MOST(size, 24), local));
	CALL(bpf_probe_read_kernel_str(bytes, size, word));
	CALL(bpf_probe_read_kernel_str(bytes, 5, word));
	CALL(bpf_probe_read_kernel_str(bytes, sizeof(word), word));
	CALL(bpf_probe_read_kernel_str(bytes, sizeof(word) - 1, word));
	CALL(bpf_probe_read(bytes, AT_MOST(size, 16), word));
	CALL(bpf_probe_read_str(bytes, size, word + 3));
	CALL(bpf_probe_read_kernel_str(bytes, 12, unended));
	/* over itself */
	CALL(bpf_probe_read_kernel(bytes + 3, 16, bytes));
	/* no user's */
	CALL(bpf_probe_read_user(bytes, size, word));
	CALL(bpf_probe_read_user_str(bytes, size, word));
	return 0;
}

/* May sleep, and does so natively. */
SEC("uprobe.s//proc/self/exe:wprobe_test_function")
int sleeping_reads(void *ctx)
{
	__u32 size = AT_MOST(input.size, BYTES);

	CALL(bpf_copy_from_user(bytes, size, address()));
	CALL(bpf_copy_from_user(large, AT_MOST(input.size, sizeof(large)), address()));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

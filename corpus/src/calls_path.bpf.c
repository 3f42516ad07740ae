/* Paths of files, for which fstat(2) asks. */
#include "calls.h"

char large[4096];

SEC("fentry/security_inode_getattr")
int BPF_PROG(path, struct path *path)
{
	__u32 size = AT_MOST(input.size, BYTES);

	if (input.pid != bpf_get_current_pid_tgid() >> 32)
		return 0;
	CALL(bpf_d_path(path, (char *)bytes, BYTES));
	if (size)
		CALL(bpf_d_path(path, (char *)bytes, size));
	CALL(bpf_d_path(path, large, sizeof(large)));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

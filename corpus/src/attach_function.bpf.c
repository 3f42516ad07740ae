/* fentry, fexit and fmod_ret: arguments, results, and the helpers that read them. */
#include "attach.h"

struct sums enters, exits, modifies, maps_enter, maps_exit;

static __always_inline void read_all(struct sums *sums, void *ctx, int count)
{
	__u64 word;

#pragma clang loop unroll(full)
	for (int i = 0; i < count; i++) {
		word = 0;
		/* one argument too many fails, and leaves the word */
		add(sums, i, bpf_get_func_arg(ctx, i, &word) == 0);
		add(sums, i, word);
	}
	add(sums, 11, bpf_get_func_arg_cnt(ctx));
	word = 7;
	add(sums, 12, bpf_get_func_ret(ctx, &word));
	add(sums, 12, word);
}

SEC("fentry/vfs_read")
int BPF_PROG(read_enter, void *file, char *buf, unsigned long count, void *pos)
{
	if (!attacher())
		return 0;
	note(&enters, ctx, 2, 3);
	read_all(&enters, ctx, 5);
	return 0;
}

SEC("fexit/vfs_read")
int BPF_PROG(read_exit, void *file, char *buf, unsigned long count, void *pos, long ret)
{
	if (!attacher())
		return 0;
	note(&exits, ctx, 4, 5);
	read_all(&exits, ctx, 5);
	return 0;
}

SEC("fmod_ret/security_file_permission")
int BPF_PROG(permission, void *file, int mask, int ret)
{
	if (attacher()) {
		note(&modifies, ctx, 1, 3);
		read_all(&modifies, ctx, 3);
	}
	return ret;
}

/* More arguments than registers pass; on 6.1 native programs cannot attach there. */
SEC("?fentry/do_mmap")
int BPF_PROG(map_enter)
{
	if (!attacher())
		return 0;
	note(&maps_enter, ctx, 1, 7);
	read_all(&maps_enter, ctx, 9);
	return 0;
}

SEC("?fexit/do_mmap")
int BPF_PROG(map_exit)
{
	if (!attacher())
		return 0;
	note(&maps_exit, ctx, 1, 7);
	read_all(&maps_exit, ctx, 9);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

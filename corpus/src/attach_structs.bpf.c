/* Functions that take structs by value: kuid_t and kgid_t of 4 bytes, sockptr_t of 16. */
#include "attach.h"

struct sums chowns, sets, gets, got;

SEC("fentry/security_path_chown")
int chown_enter(__u64 *ctx)
{
	if (!attacher())
		return 0;
	note(&chowns, ctx, 1, 3);
	add(&chowns, 0, bpf_get_func_arg_cnt(ctx));
	return 0;
}

/* Two words among six in registers. */
SEC("fentry/sock_common_setsockopt")
int set_enter(__u64 *ctx)
{
	if (!attacher())
		return 0;
	note(&sets, ctx, 0, 6);
	add(&sets, 6, bpf_get_func_arg_cnt(ctx));
	return 0;
}

/* A register is left, and the last argument's two words are on the stack; on 6.1 native programs cannot attach there. */
SEC("?fentry/sk_getsockopt")
int get_enter(__u64 *ctx)
{
	if (!attacher())
		return 0;
	note(&gets, ctx, 0, 7);
	add(&gets, 7, bpf_get_func_arg_cnt(ctx));
	return 0;
}

SEC("?fexit/sk_getsockopt")
int get_exit(__u64 *ctx)
{
	if (!attacher())
		return 0;
	note(&got, ctx, 0, 8);
	add(&got, 8, bpf_get_func_arg_cnt(ctx));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

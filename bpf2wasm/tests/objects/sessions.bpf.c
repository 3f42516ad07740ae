/* A program of a session: it has a return in a subprogram's caller and in the middle; and one of none, which asks all the same. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern _Bool bpf_session_is_return(void) __ksym;
/* as later kernels want it */
extern __u64 *bpf_session_cookie___later(void *ctx) __ksym;

static __noinline long left(void *ctx)
{
	return *bpf_session_cookie___later(ctx);
}

SEC("kprobe.session/f")
int session(__u64 *ctx)
{
	if (bpf_session_is_return())
		return left(ctx) + ctx[0];
	*bpf_session_cookie___later(ctx) = ctx[0];
	return 9;
}

SEC("kprobe/f")
int none(void *ctx)
{
	return left(ctx);
}

char LICENSE[] SEC("license") = "GPL";

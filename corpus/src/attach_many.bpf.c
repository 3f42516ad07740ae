/* Programs with many places, by patterns: which function was hit, with which cookie and argument, and what it returned. */
#include "attach.h"

struct sums enters, returns, marked, user_enters, user_returns;

static __always_inline void where(struct sums *sums, __u64 *ctx)
{
	note(sums, 0, 0, 0);
	add(sums, 0, bpf_get_func_ip(ctx));
	add(sums, 1, bpf_get_attach_cookie(ctx));
}

SEC("kprobe.multi/__x64_sys_getp*")
int enter(__u64 *ctx)
{
	if (attacher()) {
		where(&enters, ctx);
		add(&enters, 2, ctx[14]); /* di */
	}
	return 0;
}

SEC("kretprobe.multi/__x64_sys_get*i*")
int leave(__u64 *ctx)
{
	if (attacher()) {
		where(&returns, ctx);
		add(&returns, 2, ctx[10]); /* ax */
	}
	return 0;
}

/* The tests give two of its places a cookie. */
SEC("kprobe.multi/__x64_sys_getp*")
int mark(__u64 *ctx)
{
	if (attacher())
		where(&marked, ctx);
	return 0;
}

/* The tests say in which file. */
SEC("?uprobe.multi")
int user_enter(__u64 *ctx)
{
	if (attacher()) {
		where(&user_enters, ctx);
		add(&user_enters, 2, ctx[14]); /* di */
	}
	return 0;
}

SEC("?uretprobe.multi")
int user_leave(__u64 *ctx)
{
	if (attacher()) {
		where(&user_returns, ctx);
		add(&user_returns, 2, ctx[10]); /* ax */
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

/* Sessions: one program at a function's entry and at its return, which it asks for, with a cookie of its own for each call. What
 * it gives at entry decides whether it sees the return. */
#include "attach.h"

extern bool bpf_session_is_return(void) __ksym;
extern __u64 *bpf_session_cookie(void) __ksym;

struct sums enters, returns, sleeps, wakes, firsts;
__u64 calls;

SEC("kprobe.session/__x64_sys_getp*")
int session(__u64 *ctx)
{
	__u64 *cookie = bpf_session_cookie();

	if (!attacher())
		return 1;
	if (bpf_session_is_return()) {
		note(&returns, 0, 0, 0);
		add(&returns, 0, bpf_get_func_ip(ctx));
		add(&returns, 1, *cookie);
		add(&returns, 2, ctx[10]); /* ax */
		return 1;
	}
	note(&enters, 0, 0, 0);
	add(&enters, 0, bpf_get_func_ip(ctx));
	/* What it holds now is natively of an earlier call, and here 0. */
	add(&enters, 2, ctx[14]); /* di */
	calls++;
	*cookie = calls * 3;
	return calls & 1;
}

/* Calls of several threads that are under way at once. */
SEC("kprobe.session/__x64_sys_clock_nanosleep")
int sleeper(__u64 *ctx)
{
	__u64 thread = (__u32)bpf_get_current_pid_tgid(), *cookie = bpf_session_cookie();

	if (!attacher())
		return 1;
	if (bpf_session_is_return()) {
		note(&wakes, 0, 0, 0);
		add(&wakes, 0, *cookie - thread);
		return 0;
	}
	note(&sleeps, 0, 0, 0);
	*cookie = thread + 5;
	return 0;
}

/* No return. */
SEC("kprobe.session/__x64_sys_getpgid")
int first(__u64 *ctx)
{
	if (attacher()) {
		note(&firsts, 0, 0, 0);
		add(&firsts, 0, bpf_session_is_return() + 1);
	}
	return 1;
}

char LICENSE[] SEC("license") = "GPL";

/* What programs print to the trace log. */
#include "calls.h"

#define PRINT(fmt, ...)                                                                            \
	do {                                                                                       \
		static const char format[] = fmt;                                                  \
                                                                                                   \
		CALL(bpf_trace_printk(format, sizeof(format), ##__VA_ARGS__));                     \
	} while (0)

#define PRINT_ALL(fmt, ...)                                                                        \
	do {                                                                                       \
		static const char format[] = fmt;                                                  \
		__u64 args[] = { __VA_ARGS__ };                                                    \
                                                                                                   \
		CALL(bpf_trace_vprintk(format, sizeof(format), args, sizeof(args)));               \
	} while (0)

const char word[] = "a word";

SEC("kprobe/__x64_sys_getpgid")
int prints(void *ctx)
{
	__u64 own = (__u64)(long)word;

	barrier_var(own);
	PRINT("round %d", (int)input.number);
	PRINT("%s and %llx %u\n", own, input.address, 7);
	PRINT("nothing to say");
	PRINT("%pks!", input.address);
	PRINT("100%%");
	/* refused */
	PRINT("%q", 1);
	PRINT("%f", 1);
	PRINT("\x80");
	PRINT_ALL("%d %d %d %d %s", 1, 2, 3, input.number, own);
	PRINT_ALL("%d", 1, 2);
	PRINT_ALL("%d %d", 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

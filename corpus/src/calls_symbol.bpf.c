/* Formats whose text only the kernel knows. */
#include "calls.h"

extern const void schedule __ksym;

#define PRINT(fmt, ...)                                                                            \
	do {                                                                                       \
		static const char format[] = fmt;                                                  \
		__u64 args[] = { __VA_ARGS__ };                                                    \
                                                                                                   \
		CALL(bpf_snprintf((char *)bytes, BYTES, format, args, sizeof(args)));              \
	} while (0)

SEC("kprobe/__x64_sys_getpgid")
int symbols(void *ctx)
{
	__u64 function = (__u64)(long)&schedule;

	PRINT("%ps|%pS", function, function);
	PRINT("%pB", function + 5);
	PRINT("%pS", function + 5);
	PRINT("%ps", input.address);
	PRINT("%pS", input.address);
	PRINT("%pB", input.address);
	PRINT("%p|", input.address);
	PRINT("%p.%p", 0, function);
	PRINT("%pK", function);
	PRINT("%ps%ps%ps%ps%ps%ps", function, function, function, function, function, function);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

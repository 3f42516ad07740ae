/* Kernel functions on dynptrs. Needs no event where it is test-run. */
#include "calls_dynptr.h"

extern int bpf_dynptr_adjust(const struct bpf_dynptr *ptr, __u32 start, __u32 end) __ksym;
extern bool bpf_dynptr_is_null(const struct bpf_dynptr *ptr) __ksym;
extern bool bpf_dynptr_is_rdonly(const struct bpf_dynptr *ptr) __ksym;
extern __u32 bpf_dynptr_size(const struct bpf_dynptr *ptr) __ksym;
extern int bpf_dynptr_clone(const struct bpf_dynptr *ptr, struct bpf_dynptr *clone) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 offset, void *buffer, __u32 size) __ksym;

#define ABOUT(ptr)                                                                                 \
	do {                                                                                       \
		CALL(bpf_dynptr_is_null(ptr));                                                     \
		CALL(bpf_dynptr_is_rdonly(ptr));                                                   \
		CALL(bpf_dynptr_size(ptr));                                                        \
		CALL(bpf_dynptr_read(bytes, 4, ptr, 0, 0));                                        \
	} while (0)

static __always_inline int all_parts(void)
{
	__u32 at = input.number % 130;
	struct bpf_dynptr ptr, clone;
	__u64 buffer, *part;

	fill();
	bpf_dynptr_from_mem(data, 100, 0, &ptr);
	ABOUT(&ptr);
	part = bpf_dynptr_slice(&ptr, 8, &buffer, sizeof(buffer));
	CALL(part ? *part : 1);
	part = bpf_dynptr_slice(&ptr, at, &buffer, sizeof(buffer));
	CALL(part ? *part : 1);
	CALL(bpf_dynptr_clone(&ptr, &clone));
	CALL(bpf_dynptr_adjust(&ptr, 10, 60));
	ABOUT(&ptr);
	CALL(bpf_dynptr_adjust(&ptr, 51, 51));
	CALL(bpf_dynptr_adjust(&ptr, 5, 4));
	CALL(bpf_dynptr_adjust(&ptr, at % 60, 45));
	ABOUT(&ptr);
	ABOUT(&clone);
	bpf_dynptr_from_mem(data, 8, 1, &ptr);
	ABOUT(&ptr);
	CALL(bpf_dynptr_clone(&ptr, &clone));
	CALL(bpf_dynptr_adjust(&ptr, 0, 0));
	part = bpf_dynptr_slice(&ptr, 0, &buffer, sizeof(buffer));
	CALL(part ? *part : 1);
	ABOUT(&clone);
	return 0;
}

PROGRAM(parts)

char LICENSE[] SEC("license") = "GPL";

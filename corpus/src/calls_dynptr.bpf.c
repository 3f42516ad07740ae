/* Helpers on dynptrs. Needs no event where it is test-run. */
#include "calls_dynptr.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

static __always_inline int all_memory(void)
{
	__u32 at = input.number % 130, size = input.size % 70;
	struct bpf_dynptr ptr;
	__u64 *part;

	fill();
	CALL(bpf_dynptr_from_mem(data, 100, 0, &ptr));
	CALL(bpf_dynptr_read(bytes, BYTES, &ptr, 0, 0));
	CALL(bpf_dynptr_read(bytes, BYTES, &ptr, at, 0));
	CALL(bpf_dynptr_read(bytes, AT_MOST(size, BYTES), &ptr, at, 0));
	CALL(bpf_dynptr_read(bytes, 10, &ptr, 90, 0));
	CALL(bpf_dynptr_read(bytes, 10, &ptr, 91, 0));
	CALL(bpf_dynptr_read(bytes, 1, &ptr, -1, 0));
	CALL(bpf_dynptr_read(bytes, 10, &ptr, 0, 1));
	CALL(bpf_dynptr_write(&ptr, 2, "words", 5, 0));
	CALL(bpf_dynptr_write(&ptr, at, "words", 5, 0));
	CALL(bpf_dynptr_write(&ptr, 96, "words", 5, 0));
	CALL(bpf_dynptr_write(&ptr, 0, "words", 5, 1));
	CALL(bpf_dynptr_read(data + 20, 64, &ptr, 3, 0));
	CALL(bpf_dynptr_read(data + 3, 64, &ptr, 20, 0));
	part = bpf_dynptr_data(&ptr, 8, 8);
	CALL(part ? *part : 1);
	part = bpf_dynptr_data(&ptr, 93, 8);
	CALL(part ? *part : 1);
	part = bpf_dynptr_data(&ptr, at, 8);
	CALL(part ? *part : 1);
	CALL(bpf_dynptr_from_mem(data, 8, 1, &ptr));
	CALL(bpf_dynptr_read(bytes, 0, &ptr, 0, 0));
	CALL(bpf_dynptr_write(&ptr, 0, "words", 5, 0));
	part = bpf_dynptr_data(&ptr, 0, 8);
	CALL(part ? *part : 1);
	return 0;
}

static __always_inline int all_records(void)
{
	struct bpf_dynptr ptr;
	__u64 *part;

	CALL(bpf_ringbuf_reserve_dynptr(&ring, 40, 0, &ptr));
	CALL(bpf_dynptr_write(&ptr, 4, "words", 5, 0));
	CALL(bpf_dynptr_write(&ptr, 36, "words", 5, 0));
	part = bpf_dynptr_data(&ptr, 32, 8);
	if (part)
		*part = input.number;
	CALL(part ? *part : 1);
	CALL(bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA));
	bpf_ringbuf_discard_dynptr(&ptr, 0);
	CALL(bpf_ringbuf_reserve_dynptr(&ring, input.size % 5000, 0, &ptr));
	CALL(bpf_dynptr_write(&ptr, input.number % 50, "words", 5, 0));
	bpf_ringbuf_submit_dynptr(&ptr, 0);
	CALL(bpf_ringbuf_reserve_dynptr(&ring, 5000, 0, &ptr));
	bpf_ringbuf_submit_dynptr(&ptr, 0);
	CALL(bpf_ringbuf_reserve_dynptr(&ring, 1 << 24, 0, &ptr));
	bpf_ringbuf_discard_dynptr(&ptr, 0);
	CALL(bpf_ringbuf_reserve_dynptr(&ring, 8, 1, &ptr));
	bpf_ringbuf_discard_dynptr(&ptr, 0);
	CALL(bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA));
	return 0;
}

PROGRAM(memory)
PROGRAM(records)

char LICENSE[] SEC("license") = "GPL";

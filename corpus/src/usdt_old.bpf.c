/* The same with specifications as objects have them that were built with libbpf before 1.7: smaller ones. */
#include "attach.h"

enum how { CONSTANT, REGISTER, MEMORY };

struct argument {
	__u64 val_off;
	enum how arg_type;
	short reg_off;
	_Bool arg_signed;
	char arg_bitshift;
};

struct specification {
	struct argument args[12];
	__u64 usdt_cookie;
	short arg_cnt;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, int);
	__type(value, struct specification);
} __bpf_usdt_specs SEC(".maps");

/* libbpf wants it to be there. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, long);
	__type(value, __u32);
} __bpf_usdt_ip_to_spec_id SEC(".maps");

__u64 hits, sum;

SEC("usdt")
int many(void *ctx)
{
	int number = bpf_get_attach_cookie(ctx);
	struct specification *known = bpf_map_lookup_elem(&__bpf_usdt_specs, &number);

	__sync_fetch_and_add(&hits, 1);
	if (known && known->arg_cnt == 1 && known->args[0].arg_type == CONSTANT) {
		__s64 value = known->args[0].val_off << (known->args[0].arg_bitshift & 63);

		__sync_fetch_and_add(&sum, value >> (known->args[0].arg_bitshift & 63));
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

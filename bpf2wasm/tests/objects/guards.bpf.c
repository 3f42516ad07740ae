/* Calls of what runtimes lack, behind questions of what there is, and not. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

enum asked { ASKED };
struct asked_of { int member; } __attribute__((preserve_access_index));

static char name[] = "x";
__u64 address, other;

extern int bpf_no_such_kfunc(void) __ksym __weak;

static __always_inline long lacking(void)
{
	return bpf_kallsyms_lookup_name(name, sizeof(name), 0, &address);
}

static __noinline long lacking_function(void)
{
	return lacking();
}

SEC("kprobe/a")
int asks(void *ctx)
{
	if (bpf_core_enum_value_exists(enum asked, ASKED))
		return lacking();
	return 0;
}

SEC("kprobe/b")
int asks_not(void *ctx)
{
	if (other)
		return lacking();
	return 0;
}

/* The answer decides something else. */
SEC("kprobe/c")
int asks_for_another(void *ctx)
{
	if (bpf_core_type_exists(struct asked_of))
		other++;
	return lacking();
}

SEC("kprobe/d")
int asks_before_a_function(void *ctx)
{
	if (!bpf_core_field_exists(struct asked_of, member))
		return 1;
	return lacking_function();
}

SEC("kprobe/e")
int asks_the_symbol(void *ctx)
{
	if (bpf_no_such_kfunc)
		return bpf_no_such_kfunc();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";

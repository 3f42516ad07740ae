// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What a kprobe costs that does nothing: the floor under every runtime. Attached while it is loaded. */
#include <linux/kprobes.h>
#include <linux/module.h>

static int on_hit(struct kprobe *probe, struct pt_regs *regs)
{
	return 0;
}
NOKPROBE_SYMBOL(on_hit);

static struct kprobe probe = {
	.symbol_name = "__x64_sys_lseek",
	.pre_handler = on_hit,
};

static int __init empty_kprobe_init(void)
{
	return register_kprobe(&probe);
}

static void __exit empty_kprobe_exit(void)
{
	unregister_kprobe(&probe);
}

module_init(empty_kprobe_init);
module_exit(empty_kprobe_exit);
MODULE_DESCRIPTION("A kprobe that does nothing, for measuring");
MODULE_LICENSE("Dual MIT/GPL");

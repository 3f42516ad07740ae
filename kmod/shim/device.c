// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * /dev/wprobe and the descriptors of objects: hands every request to Rust (mapping and polling excepted, see ring.c). What a
 * request means, and which rights it asks for, is decided there.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/security.h>

#include "control.h"

#define PARAMETER(name, value, text)                                                               \
	static ulong name = value;                                                                  \
	module_param(name, ulong, 0644);                                                            \
	MODULE_PARM_DESC(name, text " (default " #value ")")

PARAMETER(max_memory, 268435456, "bytes of linear memory and rings a sandbox may have");
PARAMETER(max_maps, 256, "maps a sandbox may have, 256 at most");
PARAMETER(max_entries, 4194304, "elements that the maps of a sandbox may have");
PARAMETER(max_programs, 4096, "programs a sandbox may have");
PARAMETER(max_instances, 16384, "instances a sandbox may have");
PARAMETER(max_native, 262144, "bytes of native code a sandbox may have");
PARAMETER(max_host, 1073741824, "bytes of kernel memory a sandbox may have besides");
PARAMETER(max_links, 1024, "links a sandbox may have");
PARAMETER(total_memory, 4294967296, "bytes of linear memory and rings of all sandboxes");
PARAMETER(total_maps, 65536, "maps of all sandboxes");
PARAMETER(total_entries, 67108864, "elements of all maps");
PARAMETER(total_programs, 65536, "programs of all sandboxes");
PARAMETER(total_instances, 262144, "instances of all sandboxes");
PARAMETER(total_native, 1048576, "bytes of native code of all sandboxes, 1048576 at most");
PARAMETER(total_host, 4294967296, "bytes of kernel memory all sandboxes may have besides");
PARAMETER(total_links, 16384, "links of all sandboxes");
PARAMETER(total_sandboxes, 1024, "sandboxes");
PARAMETER(max_module, 4194304, "bytes of a wasm module at most");
PARAMETER(default_fuel, 1048576, "execution budget of one run");
PARAMETER(max_fuel, 16777216, "largest budget a module may ask for");

void wp_limits(struct wprobe_limits *limits)
{
	*limits = (struct wprobe_limits){
		.each = { max_memory, max_maps, max_entries, max_programs, max_instances,
			  max_native, max_host, max_links, 1 },
		.total = { total_memory, total_maps, total_entries, total_programs, total_instances,
			   total_native, total_host, total_links, total_sandboxes },
		.max_module = max_module,
		.default_fuel = default_fuel,
		.max_fuel = max_fuel,
		.cpus = nr_cpu_ids,
	};
}

static long wprobe_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct wprobe_request request = {
		.op = WPROBE_IOCTL,
		.cmd = cmd,
		.object = file->private_data,
		.address = arg,
	};

	return wprobe_serve(&request);
}

static ssize_t object_read(struct file *file, char __user *to, size_t size, loff_t *position)
{
	struct wprobe_request request = {
		.op = WPROBE_READ,
		.object = file->private_data,
		.address = (u64)to,
		.size = size,
		.position = *position,
	};
	ssize_t done = wprobe_serve(&request);

	if (done > 0)
		*position += done;
	return done;
}

static int object_release(struct inode *inode, struct file *file)
{
	struct wprobe_request request = {
		.op = WPROBE_RELEASE,
		.object = file->private_data,
	};

	/* waits for no other request */
	wprobe_serve(&request);
	return 0;
}

static const struct file_operations object_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = wprobe_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.read = object_read,
	.poll = wprobe_window_poll,
	.mmap = wprobe_window_mmap,
	.release = object_release,
};

/* A descriptor that owns `object`, or a negative errno. */
int wp_new_fd(void *object)
{
	return anon_inode_getfd("[wprobe]", &object_fops, object, O_RDWR | O_CLOEXEC);
}

/* A pinned object keeps the module loaded, as a descriptor does. */
void wp_hold_module(void)
{
	__module_get(THIS_MODULE);
}

void wp_drop_module(void)
{
	module_put(THIS_MODULE);
}

/* What native tracing needs. Asked for by each request that the interface says it of: a descriptor may have been handed on. */
int wp_may_trace(void)
{
	if (!bpf_capable() || !perfmon_capable())
		return -EPERM;
	return security_locked_down(LOCKDOWN_BPF_READ_KERNEL);
}

/* What lockdown says of probes in the kernel's text, and of samples. */
int wp_may_attach(bool sampled)
{
	return security_locked_down(sampled ? LOCKDOWN_PERF : LOCKDOWN_KPROBES);
}

static int device_open(struct inode *inode, struct file *file)
{
	/* misc_open() leaves the device here; an object's descriptor has its object */
	file->private_data = NULL;
	return wp_may_trace();
}

static const struct file_operations device_fops = {
	.owner = THIS_MODULE,
	.open = device_open,
	.unlocked_ioctl = wprobe_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "wprobe",
	.fops = &device_fops,
	/* open() decides, by capability */
	.mode = 0666,
};

static int __init wprobe_init(void)
{
	int error;

	wprobe_task_init();
	error = wprobe_control_init();
	if (error)
		return error;
	error = misc_register(&device);
	if (error)
		wprobe_control_exit();
	return error;
}

static void __exit wprobe_exit(void)
{
	misc_deregister(&device);
	wprobe_control_exit();
	wprobe_task_exit();
}

module_init(wprobe_init);
module_exit(wprobe_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Runs eBPF programs translated to WebAssembly, and hand-written wasm modules, on kernel probes");

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * /dev/wprobe and the descriptors of objects: hands every request to Rust, one at a time, on a stack
 * of its own (mapping and polling excepted, see ring.c). What a request means is decided there.
 */
#include <linux/anon_inodes.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/security.h>
#include <linux/vmalloc.h>

#include "wprobe.h"

/* Loading used 35 KiB, whatever the size and the nesting of the module. */
#define CONTROL_STACK (96 * 1024)

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
PARAMETER(total_memory, 4294967296, "bytes of linear memory and rings of all sandboxes");
PARAMETER(total_maps, 65536, "maps of all sandboxes");
PARAMETER(total_entries, 67108864, "elements of all maps");
PARAMETER(total_programs, 65536, "programs of all sandboxes");
PARAMETER(total_instances, 262144, "instances of all sandboxes");
PARAMETER(total_native, 1048576, "bytes of native code of all sandboxes, 1048576 at most");
PARAMETER(max_module, 4194304, "bytes of a wasm module at most");
PARAMETER(default_fuel, 1048576, "execution budget of one run");
PARAMETER(max_fuel, 16777216, "largest budget a module may ask for");

/* Serialises the control path; probes never take it. */
static DEFINE_MUTEX(control);
static void *control_stack;
u64 wprobe_control_resume;

void wp_limits(struct wprobe_limits *limits)
{
	*limits = (struct wprobe_limits){
		.each = { max_memory, max_maps, max_entries, max_programs, max_instances,
			  max_native },
		.total = { total_memory, total_maps, total_entries, total_programs, total_instances,
			   total_native },
		.max_module = max_module,
		.default_fuel = default_fuel,
		.max_fuel = max_fuel,
		.cpus = nr_cpu_ids,
	};
}

static long control_locked(struct wprobe_request *request)
{
	return wprobe_catch_control(request, control_stack + CONTROL_STACK, &wprobe_control_resume);
}

static long ask(struct wprobe_request *request)
{
	long result;

	if (mutex_lock_killable(&control))
		return -EINTR;
	result = control_locked(request);
	mutex_unlock(&control);
	return result;
}

static long wprobe_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct wprobe_request request = {
		.op = WPROBE_IOCTL,
		.cmd = cmd,
		.object = file->private_data,
		.address = arg,
	};

	return ask(&request);
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
	ssize_t done = ask(&request);

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

	mutex_lock(&control);
	control_locked(&request);
	mutex_unlock(&control);
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

/* What native tracing needs. */
static int device_open(struct inode *inode, struct file *file)
{
	if (!capable(CAP_SYS_ADMIN) && !(capable(CAP_BPF) && capable(CAP_PERFMON)))
		return -EPERM;
	/* misc_open() leaves the device here; an object's descriptor has its object */
	file->private_data = NULL;
	return security_locked_down(LOCKDOWN_BPF_READ_KERNEL);
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
	struct wprobe_request request = { .op = WPROBE_INIT };
	int error;

	control_stack = vmalloc(CONTROL_STACK);
	if (!control_stack)
		return -ENOMEM;
	wprobe_task_init();
	error = ask(&request);
	if (!error)
		error = misc_register(&device);
	if (error)
		vfree(control_stack);
	return error;
}

static void __exit wprobe_exit(void)
{
	struct wprobe_request request = { .op = WPROBE_EXIT };

	misc_deregister(&device);
	mutex_lock(&control);
	control_locked(&request);
	mutex_unlock(&control);
	wprobe_task_exit();
	vfree(control_stack);
}

module_init(wprobe_init);
module_exit(wprobe_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Runs eBPF programs translated to WebAssembly, and hand-written wasm modules, on kernel probes");

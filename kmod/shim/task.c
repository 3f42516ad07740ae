// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The current task and others: control groups, ids, registers, signals. [probe] as in services.c.
 */
#include <linux/cgroup.h>
#include <linux/irq_work.h>
#include <linux/jiffies.h>
#include <linux/namei.h>
#include <linux/percpu.h>
#include <linux/pid_namespace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/timekeeping.h>
#include <linux/topology.h>
#include <linux/uaccess.h>

#include "wprobe.h"

/* A signal on its way. A run has interrupts off, so it is sent right after. */
struct pending_signal {
	struct irq_work work;
	struct pid *pid;
	int number;
	bool process;
};

static DEFINE_PER_CPU(struct pending_signal, pending_signal);

/* The device that namespaces' inodes are on; 0: not known. */
static dev_t namespace_device;

/* see compat.h */
static u64 tai_ahead;

static void send_pending(struct irq_work *work)
{
	struct pending_signal *signal = container_of(work, struct pending_signal, work);
	struct task_struct *task;

	if (signal->process) {
		kill_pid(signal->pid, signal->number, 1);
	} else {
		rcu_read_lock();
		task = pid_task(signal->pid, PIDTYPE_PID);
		/* which takes 0 for 64, where kill_pid() sends nothing */
		if (task && signal->number)
			send_sig_info(signal->number, SEND_SIG_PRIV, task);
		rcu_read_unlock();
	}
	put_pid(signal->pid);
}

void wprobe_task_init(void)
{
	struct path path;
	int cpu;

	tai_ahead = wprobe_tai_ahead();
	for_each_possible_cpu(cpu)
		init_irq_work(&per_cpu(pending_signal, cpu).work, send_pending);
	if (!kern_path("/proc/self/ns/pid", LOOKUP_FOLLOW, &path)) {
		namespace_device = path.dentry->d_sb->s_dev;
		path_put(&path);
	}
}

/* No probe is left; signals may be. */
void wprobe_task_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		irq_work_sync(&per_cpu(pending_signal, cpu).work);
}

/* [probe] 0 or a negative errno, as bpf_send_signal() with interrupts off */
long wp_send_signal(u32 number, bool process)
{
	struct pending_signal *signal = this_cpu_ptr(&pending_signal);

	if (current->flags & (PF_KTHREAD | PF_EXITING) || is_global_init(current))
		return -EPERM;
	if (!valid_signal(number))
		return -EINVAL;
	if (irq_work_is_busy(&signal->work))
		return -EBUSY;
	signal->pid = get_pid(process ? task_tgid(current) : task_pid(current));
	signal->number = number;
	signal->process = process;
	irq_work_queue(&signal->work);
	return 0;
}

/* [probe] The task at an address, if one is there; inside an RCU read-side critical section. */
struct task_struct *wprobe_task_at(u64 address)
{
	struct task_struct *alleged = (struct task_struct *)address;
	struct pid *pid;
	pid_t number;

	if (wp_read_kernel(&number, (u64)&alleged->pid, sizeof(number)))
		return NULL;
	pid = find_pid_ns(number, &init_pid_ns);
	return pid && pid_task(pid, PIDTYPE_PID) == alleged ? alleged : NULL;
}

/* [probe] */
u64 wp_task_by_pid(u32 number)
{
	struct task_struct *task;
	struct pid *pid;

	rcu_read_lock();
	pid = find_pid_ns((int)number, &init_pid_ns);
	task = pid ? pid_task(pid, PIDTYPE_PID) : NULL;
	rcu_read_unlock();
	return (u64)task;
}

/* [probe] When the task at an address started, in nanoseconds since boot; 0 if there is no task. */
u64 wp_task_start(u64 address)
{
	struct task_struct *task;
	u64 start;

	rcu_read_lock();
	task = wprobe_task_at(address);
	start = task ? task->start_boottime : 0;
	rcu_read_unlock();
	return start;
}

/* [probe] */
u64 wp_task_registers(u64 address)
{
	struct task_struct *task;
	u64 registers;

	rcu_read_lock();
	task = wprobe_task_at(address);
	registers = task ? (u64)task_pt_regs(task) : 0;
	rcu_read_unlock();
	return registers;
}

/* [probe] Whether the innermost PID namespace of the current task is that inode; then its ids in it. */
bool wp_namespace_ids(u32 device, u64 inode, u32 *pid, u32 *tgid)
{
	struct pid_namespace *space = task_active_pid_ns(current);

	if (!space || !namespace_device || namespace_device != device || space->ns.inum != inode)
		return false;
	*pid = task_pid_nr_ns(current, space);
	*tgid = task_tgid_nr_ns(current, space);
	return true;
}

/* The control group behind a descriptor of the caller, held; 0 and a negative errno if there is none. Sleeps. */
u64 wp_cgroup_get(u32 fd, long *error)
{
	struct cgroup *group = cgroup_get_from_fd((int)fd);

	*error = PTR_ERR_OR_ZERO(group);
	return *error ? 0 : (u64)group;
}

void wp_cgroup_put(u64 group)
{
	cgroup_put((struct cgroup *)group);
}

/* [probe] Whether the current task is in, or below, a group that is held. */
bool wp_is_under_cgroup(u64 group)
{
	bool is_under;

	/* which another CPU may move it out of */
	rcu_read_lock();
	is_under = task_under_cgroup_hierarchy(current, (struct cgroup *)group);
	rcu_read_unlock();
	return is_under;
}

/* [probe] The id of the current task's group, or of its ancestor at a level; 0: none */
u64 wp_cgroup_id(bool ancestor, int level)
{
	struct cgroup *group;
	u64 id = 0;

	rcu_read_lock();
	group = task_dfl_cgroup(current);
	if (ancestor)
		group = cgroup_ancestor(group, level);
	if (group)
		id = cgroup_id(group);
	rcu_read_unlock();
	return id;
}

/* [probe] */
u64 wp_tai(void)
{
	return wprobe_tai(tai_ahead);
}

/* [probe] */
u64 wp_jiffies(void)
{
	return get_jiffies_64();
}

/* [probe] */
u32 wp_numa_node(void)
{
	return numa_node_id();
}

/* [probe] For a possible CPU; others have no instance. */
u64 wp_per_cpu(u64 address, u32 cpu)
{
	return cpu < nr_cpu_ids && cpu_possible(cpu) ? address + per_cpu_offset(cpu) : 0;
}

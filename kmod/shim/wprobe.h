/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The seam between the C shim and the Rust half. C holds what needs kernel headers: macros, inline
 * functions, callbacks. What a request means, and every object, is Rust's. src/services.rs declares
 * the functions here once more, for Rust.
 */
#ifndef WPROBE_H
#define WPROBE_H

#include <linux/ptrace.h>
#include <linux/types.h>

#include "compat.h"

/* What user space, or the kernel, asks of the control path. */
enum wprobe_op {
	WPROBE_INIT,
	WPROBE_EXIT,
	WPROBE_IOCTL,
	WPROBE_READ,
	WPROBE_RELEASE,
	WPROBE_RECLAIM,
};

struct wprobe_request {
	u32 op;
	/* WPROBE_IOCTL: the ioctl's number */
	u32 cmd;
	/* the descriptor's object; NULL for the device itself; WPROBE_RECLAIM: what is to be freed, a list */
	void *object;
	/* the user pointer of an ioctl or a read */
	u64 address;
	/* WPROBE_READ: bytes wanted, from where */
	u64 size;
	u64 position;
};

/* Module parameters, and the machine's shape. */
#define WPROBE_RESOURCES 9

struct wprobe_limits {
	/* by enum wprobe_resource, which begins with 1 */
	u64 each[WPROBE_RESOURCES];
	u64 total[WPROBE_RESOURCES];
	u64 max_module;
	u64 default_fuel;
	u64 max_fuel;
	u64 cpus;
};

struct wprobe_probe;

/* What a probe hands over, with the program's context: as many words as its attachment copies. */
struct wprobe_hit {
	/* what a stack is unwound from, or NULL */
	const void *from;
	const struct wprobe_probe *probe;
};

/* What a probe is registered with, as it begins: Attachment in src/attach/hit.rs. */
struct wprobe_ready;
struct wprobe_attachment {
	/* by CPU, see hit.h; NULL where a system call's arguments are wanted, which only a kprobe has */
	struct wprobe_ready *ready;
};

/*
 * Entries into Rust. Each is called through its wprobe_catch_*, which remembers where to return to if
 * Rust panics; see catch.S. *resume is the place that wprobe_abort() returns to.
 */
long wprobe_catch_control(struct wprobe_request *request, u64 *resume);
void wprobe_catch_hit(struct wprobe_attachment *attachment, const struct wprobe_hit *hit, const void *words,
		      u64 cpu, u64 *resume);
void wprobe_catch_left(struct wprobe_attachment *attachment, u64 cpu, u64 *resume);
long wprobe_catch_attempt(void *attempt, u64 *resume);
/* Does not return; not declared so, for objtool keeps its own list of what does not. */
void wprobe_abort(u64 *resume, long result);

/* Entries that neither panic nor wait for the control path. */
struct wprobe_window *wprobe_rs_window(const void *object);
bool wprobe_rs_readable(const void *object);

/* control.c */
struct llist_node;
struct mutex;
/* The locks that there is one of. */
#define WPROBE_REGISTRY 0
#define WPROBE_TEXT 1
void wp_abort_control(long result);
/* Whether a task is in a part of a request that fails alone, and if so whether that was just refused memory. */
#define WPROBE_NO_ATTEMPT 0
#define WPROBE_ATTEMPT 1
#define WPROBE_ATTEMPT_DENIED 2
long wp_attempt(void *run, s64 most, u64 *freed);
u32 wp_in_attempt(void);
bool wp_on_stack(void (*work)(void *), void *argument, s64 *allocated);
s64 wp_allocated(void);
struct mutex *wp_mutex_new(void);
void wp_mutex_free(struct mutex *mutex);
struct mutex *wp_mutex(u32 which);
bool wp_lock(struct mutex *mutex);
void wp_unlock(struct mutex *mutex);
void wp_reclaim(void);
void wp_defer(struct llist_node *node);
void wp_flush(void);

/* device.c */
int wp_may_trace(void);
int wp_may_attach(bool sampled);
void wp_limits(struct wprobe_limits *limits);
int wp_new_fd(void *object);
void wp_hold_module(void);
void wp_drop_module(void);

/* ring.c */
struct file;
struct poll_table_struct;
struct vm_area_struct;
struct wprobe_window;
struct wprobe_window *wp_window_new(void *pages, u32 count, bool ring_buffer);
void wp_window_free(struct wprobe_window *window);
void wp_wake(struct wprobe_window *window);
__poll_t wprobe_window_poll(struct file *file, struct poll_table_struct *table);
int wprobe_window_mmap(struct file *file, struct vm_area_struct *vma);

/* services.c */
void wp_log(const char *text, size_t length);
void *wp_alloc(size_t size, size_t align);
void wp_free(void *block, size_t size);
void *wp_alloc_guest(size_t size);
void wp_free_guest(void *memory);
bool wp_copy_in(void *to, u64 from, size_t size);
bool wp_copy_out(u64 to, const void *from, size_t size);
u32 wp_cpu(void);
bool wp_irqs_off(void);
u64 wp_irq_save(void);
void wp_irq_restore(u64 flags);
u64 wp_ktime(void);
u64 wp_boottime(void);
u64 wp_pid_tgid(void);
u64 wp_uid_gid(void);
u64 wp_task(void);
void wp_comm(char *comm);
void wp_seed_random(void);
u32 wp_random(void);
u32 wp_entropy(void);
void wp_wait_for_runs(void);
void wp_rest(void);
bool wp_rest_unless_killed(void);
long wp_read_kernel(void *to, u64 from, size_t size);
long wp_read_user(void *to, u64 from, size_t size);
long wp_read_kernel_str(char *to, u64 from, size_t size);
long wp_read_user_str(char *to, u64 from, size_t size);
u64 wp_user_end(void);
size_t wp_pointer_text(u8 kind, u64 address, char *to, size_t size);
void wp_trace(const char *text, size_t length);

/* native.c */
/* Bytes of native code that all modules together may have. */
#define WPROBE_NATIVE_TEXT (1024 * 1024)

u64 wp_native_text(void);
bool wp_may_load_code(void);
long wp_native_write(size_t offset, const void *code, size_t size);
void wp_sha256(const void *bytes, size_t size, u8 *digest);

/* stack.c */
long wp_stack(const struct wprobe_hit *hit, bool user, u32 skip, u64 *to, u32 room);
long wp_task_stack(u64 address, bool user, u32 skip, u64 *to, u32 room);

/* path.c; helpers/src/host.rs declares the struct once more */
struct wprobe_path_layout {
	u64 root_mount;
	u64 root_entry;
	s32 path_mount;
	s32 path_entry;
	s32 entry_parent;
	s32 entry_name;
	s32 entry_length;
	s32 entry_hashed;
	s32 entry_operations;
	s32 entry_super;
	s32 entry_inode;
	s32 operations_name;
	s32 super_magic;
	s32 inode_number;
	s32 mount_root;
	s32 mount_inside;
	s32 mount_parent;
	s32 mount_point;
};

bool wp_path_layout(struct wprobe_path_layout *layout);

/* task.c */
struct task_struct;
void wprobe_task_init(void);
void wprobe_task_exit(void);
struct task_struct *wprobe_task_at(u64 address);
long wp_send_signal(u32 number, bool process);
u64 wp_task_by_pid(u32 number);
u64 wp_task_start(u64 address);
u64 wp_task_registers(u64 address);
bool wp_namespace_ids(u32 device, u64 inode, u32 *pid, u32 *tgid);
u64 wp_cgroup_get(u32 fd, long *error);
void wp_cgroup_put(u64 group);
bool wp_is_under_cgroup(u64 group);
u64 wp_cgroup_id(bool ancestor, int level);
u64 wp_tai(void);
u64 wp_jiffies(void);
u32 wp_numa_node(void);
u64 wp_per_cpu(u64 address, u32 cpu);

/*
 * hit.c. A probe of any kind begins with this, in memory of kzalloc(). An attach function registers one that hits `attachment`,
 * and returns 0 or a negative errno; names it is given need only live as long as the call, unless it
 * says otherwise.
 */
struct wprobe_probe {
	struct wprobe_attachment *attachment;
	const struct wprobe_probe_ops *ops;
	/* which of its attachment's places */
	u64 place;
};

struct wprobe_probe_ops {
	/* how many frames of a native program and of what calls it a stack begins with */
	u64 frames;
	/* NULL: hits hand over registers; else what makes some of what they hand over */
	void (*registers)(const void *from, struct pt_regs *regs);
	/* NULL: no function; else where the function begins that was hit, or 0 */
	u64 (*function)(const struct wprobe_hit *hit);
	/* NULL: it never misses */
	u64 (*missed)(const struct wprobe_probe *probe);
	/* when it returns no handler runs any more, nor will; what begins with the probe is left, to be freed later */
	void (*detach)(struct wprobe_probe *probe);
};

void wprobe_hit(struct wprobe_probe *probe, const void *from, const void *words);
void wp_abort_hit(u32 cpu);
u64 wp_probe_missed(const struct wprobe_probe *probe);
u64 wp_function(const struct wprobe_hit *hit);
struct kprobe;
u64 wprobe_kprobe_function(const struct kprobe *kprobe);
void wp_probe_detach(struct wprobe_probe *probe);
void wp_probe_free(struct wprobe_probe *probe);

/* In the context of a session's program, in bytes: as in helpers/abi/src/layout.rs. */
#define WPROBE_SESSION_IS_RETURN 168
#define WPROBE_SESSION_COOKIE 176
#define WPROBE_SESSION_RESULT 184
#define WPROBE_SESSION_SIZE 192
#define WPROBE_SESSION_IGNORES 1

/* attach_kprobe.c: these two take a symbol that outlives the probe; or, if that is NULL, `count` addresses */
int wp_kprobe_attach(const char *symbol, u32 offset, const u64 *addresses, u32 count, void *attachment,
		     struct wprobe_probe **made);
int wp_kretprobe_attach(const char *symbol, const u64 *addresses, u32 count, bool session, void *attachment,
			struct wprobe_probe **made);
bool wp_syscall_args(const struct pt_regs *outer, u64 *args);
size_t wp_regs_size(void);

/* attach_raw.c */
#define WPROBE_TRACEPOINT_ARGS 12
#define WPROBE_SHORT_ARGS 5
struct module;
struct tracepoint;
struct tracepoint *wprobe_find_tracepoint(const char *name, struct module **owner);
int wp_raw_tracepoint_attach(const char *name, u32 args, void *attachment,
			     struct wprobe_probe **made);

/* attach_tracepoint.c */
int wp_tracepoint_attach(const char *system, const char *name, void *attachment,
			 struct wprobe_probe **made);

/* attach_function.c: `args` words of arguments, those by the bits of `stacked` on the stack in any case; wp_fexit_attach()
 * takes a symbol that outlives the probe */
int wp_fentry_attach(const char *symbol, u32 args, u32 stacked, void *attachment, struct wprobe_probe **made);
int wp_fexit_attach(const char *symbol, u32 args, u32 stacked, void *attachment, struct wprobe_probe **made);

/* attach_perf_event.c */
int wp_perf_event_attach(u32 type, u64 config, bool period, u64 sample, void *attachment,
			 struct wprobe_probe **made);

/* attach_uprobe.c */
int wp_uprobe_attach(const char *path, const u64 *offsets, u32 count, u64 semaphore, u32 pid, bool returns,
		     void *attachment, struct wprobe_probe **made);

#endif

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Windows: pages of event rings as user space maps them, and who waits for records. Only libbpf's view
 * of the pages is known here; what is in them is Rust's.
 */
#include <linux/fs.h>
#include <linux/irq_work.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>

#include "wprobe.h"

/* Pages of a ring buffer before its data: consumer, producer. */
#define POSITIONS 2

struct wprobe_window {
	/* of wp_alloc_guest() */
	void *pages;
	u32 count;
	bool ring_buffer;
	/* mappings through which a reader moves the consumer's position: one at a time */
	atomic_t consumers;
	wait_queue_head_t readers;
	struct irq_work wake;
};

/* A probe must not take the locks of a wait queue. */
static void wake_readers(struct irq_work *work)
{
	wake_up_all(&container_of(work, struct wprobe_window, wake)->readers);
}

struct wprobe_window *wp_window_new(void *pages, u32 count, bool ring_buffer)
{
	struct wprobe_window *window = kzalloc(sizeof(*window), GFP_KERNEL_ACCOUNT);

	if (!window)
		return NULL;
	window->pages = pages;
	window->count = count;
	window->ring_buffer = ring_buffer;
	init_waitqueue_head(&window->readers);
	init_irq_work(&window->wake, wake_readers);
	return window;
}

void wp_window_free(struct wprobe_window *window)
{
	irq_work_sync(&window->wake);
	kfree(window);
}

/* [probe] */
void wp_wake(struct wprobe_window *window)
{
	irq_work_queue(&window->wake);
}

__poll_t wprobe_window_poll(struct file *file, struct poll_table_struct *table)
{
	struct wprobe_window *window = wprobe_rs_window(file->private_data);

	if (!window)
		return EPOLLERR;
	poll_wait(file, &window->readers, table);
	/* A probe publishes, then looks for the reader's position; the reader's is published, now look. */
	smp_mb();
	return wprobe_rs_readable(file->private_data) ? EPOLLIN | EPOLLRDNORM : 0;
}

/* A copy of the mapping: of a process that forks, or moved. */
static void consumer_open(struct vm_area_struct *vma)
{
	struct wprobe_window *window = vma->vm_private_data;

	atomic_inc(&window->consumers);
}

static void consumer_close(struct vm_area_struct *vma)
{
	struct wprobe_window *window = vma->vm_private_data;

	atomic_dec(&window->consumers);
}

/* A mapping holds its descriptor, and so the window. */
static const struct vm_operations_struct consumer_ops = {
	.open = consumer_open,
	.close = consumer_close,
};

/*
 * Of a ring buffer only the consumer's position is for user space to write, by one reader at a time: two would each see
 * some of the records, and some twice. What was mapped to be read stays so.
 */
static int set_flags(struct vm_area_struct *vma, bool ring_buffer)
{
	bool writes = vma->vm_flags & VM_WRITE;

	if (ring_buffer && writes && (vma->vm_pgoff != 0 || vma_pages(vma) != 1))
		return -EPERM;
	vm_flags_mod(vma, VM_DONTEXPAND | VM_DONTDUMP, ring_buffer && !writes ? VM_MAYWRITE : 0);
	return 0;
}

int wprobe_window_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct wprobe_window *window = wprobe_rs_window(file->private_data);
	unsigned long data, at, i;
	bool consumes;
	int error;

	if (!window)
		return -ENODEV;
	data = window->count - POSITIONS;
	if (!(vma->vm_flags & VM_SHARED) ||
	    vma->vm_pgoff + vma_pages(vma) > window->count + (window->ring_buffer ? data : 0))
		return -EINVAL;
	error = set_flags(vma, window->ring_buffer);
	if (error)
		return error;
	consumes = window->ring_buffer && (vma->vm_flags & VM_WRITE);
	if (consumes && atomic_cmpxchg(&window->consumers, 0, 1))
		return -EBUSY;
	for (i = 0; !error && i < vma_pages(vma); i++) {
		at = vma->vm_pgoff + i;
		if (at >= window->count)
			at -= data;
		error = vm_insert_page(vma, vma->vm_start + i * PAGE_SIZE,
				       vmalloc_to_page(window->pages + at * PAGE_SIZE));
	}
	if (!consumes)
		return error;
	if (error) {
		atomic_dec(&window->consumers);
		return error;
	}
	vma->vm_private_data = window;
	vma->vm_ops = &consumer_ops;
	return 0;
}

// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Room for native code. No kernel gives modules executable memory at run time, so this module brings
 * some along: a section of its text, that the module loader makes executable and read-only like the
 * rest. It is written through a second mapping, which is writable, not executable, and gone afterwards.
 */
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/processor.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/vmalloc.h>
#include <asm/sync_core.h>

#include "wprobe.h"

/* Traps, wherever one gets into it. build.sh makes the section one of code, behind objtool's back. */
static u8 text[WPROBE_NATIVE_TEXT] __aligned(PAGE_SIZE) __used __section(".native") = {
	[0 ... WPROBE_NATIVE_TEXT - 1] = 0xcc,
};

u64 wp_native_text(void)
{
	return (u64)text;
}

/* What loading a kernel module needs. */
bool wp_may_load_code(void)
{
	return capable(CAP_SYS_MODULE) && !security_locked_down(LOCKDOWN_MODULE_SIGNATURE);
}

static void synchronise(void *unused)
{
	sync_core();
}

/* Writes `size` bytes of text at `offset`; 0 or a negative errno. */
long wp_native_write(size_t offset, const void *code, size_t size)
{
	size_t first = offset / PAGE_SIZE;
	size_t count = DIV_ROUND_UP(offset + size, PAGE_SIZE) - first;
	struct page **pages;
	u8 *writable = NULL;
	size_t i;

	if (offset > sizeof(text) || size > sizeof(text) - offset)
		return -EINVAL;
	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		pages[i] = vmalloc_to_page(text + (first + i) * PAGE_SIZE);
	writable = vmap(pages, count, VM_MAP, PAGE_KERNEL);
	kvfree(pages);
	if (!writable)
		return -ENOMEM;
	memcpy(writable + offset % PAGE_SIZE, code, size);
	vunmap(writable);
	/* A CPU may have fetched what was there before. */
	on_each_cpu(synchronise, NULL, 1);
	return 0;
}

void wp_sha256(const void *bytes, size_t size, u8 *digest)
{
	sha256(bytes, size, digest);
}

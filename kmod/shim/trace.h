/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The event behind what programs print, as bpf_trace_printk is for native ones. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM wprobe

#if !defined(WPROBE_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define WPROBE_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(wprobe_print,
	TP_PROTO(const char *text, size_t length),
	TP_ARGS(text, length),
	TP_STRUCT__entry(
		__field(u32, length)
		__dynamic_array(char, text, length + 1)
	),
	TP_fast_assign(
		__entry->length = length;
		memcpy(__get_str(text), text, length);
		__get_str(text)[length] = 0;
	),
	TP_printk("%s", __get_str(text))
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>

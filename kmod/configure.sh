#!/bin/sh
# What a kernel has, as its headers say: the macros that shim/compat.h goes by. Run by Kbuild.
#
# configure.sh SOURCE BUILD: the kernel's source tree (of the headers), and its build tree.
#
# By what is there and not by a version: kernels of distributions take from newer ones, and stable ones from each other. A header
# that is gone is an error, for nobody could say then whether the feature is.
set -eu
source=$1 build=$2

tell() { echo "#define WPROBE_HAS_$1 1"; }

# has NAME HEADER PATTERN [FIRST]: a line of the header matches; with FIRST one of those from a line that matches it to an empty one.
has() {
    [ -e "$source/$2" ] || { echo "configure.sh: this kernel has no $2" >&2; exit 1; }
    if [ $# -gt 3 ]; then
        ! sed -n "/$4/,/^\$/p" "$source/$2" | grep -q -e "$3" || tell "$1"
    else
        ! grep -q -e "$3" "$source/$2" || tell "$1"
    fi
}

# exports NAME FUNCTION: the kernel exports it to modules.
exports() {
    [ -e "$build/Module.symvers" ] || { echo "configure.sh: no $build/Module.symvers" >&2; exit 1; }
    ! grep -q -e "[[:space:]]$2[[:space:]]" "$build/Module.symvers" || tell "$1"
}

echo "/* Made by configure.sh. */"
has GET_KRETPROBE include/linux/kprobes.h 'get_kretprobe('
has FTRACE_REGS include/linux/ftrace.h '^struct ftrace_regs'
exports FTRACE_FREE_FILTER ftrace_free_filter
has IRQ_WORK_IS_BUSY include/linux/irq_work.h 'irq_work_is_busy('
has TAI_FAST include/linux/timekeeping.h 'ktime_get_tai_fast_ns('
has LOCKDOWN_BPF_READ_KERNEL include/linux/security.h 'LOCKDOWN_BPF_READ_KERNEL'
has SAMPLE_FLAGS include/linux/perf_event.h 'sample_flags;'
has VM_FLAGS_MOD include/linux/mm.h 'vm_flags_mod('
has EVENT_DYNAMIC include/linux/trace_events.h 'TRACE_EVENT_FL_DYNAMIC_BIT'
has EVENT_EPROBE include/linux/trace_events.h 'TRACE_EVENT_FL_EPROBE_BIT'
has EVENT_MODULE include/linux/trace_events.h '\*module;'
has UPROBE_OBJECT include/linux/uprobes.h 'uprobe_unregister_nosync('
has UPROBE_DATA include/linux/uprobes.h '(\*handler)(.*__u64 \*data'
has UNWIND_HINT_TYPE_FIRST include/linux/objtool.h 'define UNWIND_HINT(type'
has IDLE_UNTRACED include/linux/cpuidle.h 'ct_cpuidle_enter('
has FUNC_ENDBR arch/x86/include/asm/linkage.h 'ENDBR' 'define SYM_FUNC_START(name)'

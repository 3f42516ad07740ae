//! What a kernel says when it is unwell.

/// Texts that mean a defect, wherever they stand in a console line. From the kernel's own messages
/// (`lib/bug.c`, `kernel/panic.c`, `kernel/watchdog.c`, `kernel/rcu/tree_stall.h`, `kernel/hung_task.c`, …).
const DEFECTS: &[&str] = &[
    "BUG:",
    "kernel BUG at",
    "WARNING: ",
    "Oops",
    "general protection fault",
    "Kernel panic",
    "unable to handle",
    "double fault",
    "stack guard page",
    "Kernel stack is corrupted",
    "soft lockup",
    "hard LOCKUP",
    "detected stalls",
    "self-detected stall",
    "rcu_preempt kthread starved",
    "blocked for more than",
    "scheduling while atomic",
    "sleeping function called",
    "suspicious RCU usage",
    "possible recursive locking",
    "possible circular locking",
    "inconsistent lock state",
    "list_add corruption",
    "list_del corruption",
    "refcount_t:",
    "UBSAN:",
    "KASAN:",
    "unchecked MSR access",
    "unexpectedly returned a value",
    "Out of memory: Killed process",
];

/// Lines shown before and after a defect.
const CONTEXT: (usize, usize) = (2, 30);

/// The places in a console log where the kernel reports a defect, each with its surroundings; overlapping ones
/// are one.
pub(crate) fn defects(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    let mut found = Vec::new();
    let mut next = 0;
    for (i, line) in lines.iter().enumerate() {
        if i < next || !DEFECTS.iter().any(|defect| line.contains(defect)) {
            continue;
        }
        next = lines.len().min(i + CONTEXT.1);
        found.push(lines[i.saturating_sub(CONTEXT.0)..next].join("\n"));
    }
    found
}

/// What the kernel panicked of.
pub(super) fn panic(log: &str) -> Option<&str> {
    const PANIC: &str = "Kernel panic - not syncing: ";
    let line = log.lines().find_map(|line| line.split_once(PANIC))?;
    Some(line.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_log_has_none() {
        let log = "[    0.000000] Linux version 6.12\n[    1.2] wprobe: loading out-of-tree module taints kernel.\n";
        assert!(defects(log).is_empty());
    }

    #[test]
    fn an_oops_is_one_defect_with_its_trace() {
        let log = "[1.0] fine\n[2.0] BUG: kernel NULL pointer dereference\n[2.1] Oops: 0000 [#1]\n[2.2] Call Trace:\n";
        let found = defects(log);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("[1.0] fine") && found[0].contains("Call Trace"));
    }

    #[test]
    fn a_panic_says_why() {
        let log =
            "[ 0.1] x\r\n[ 0.2] Kernel panic - not syncing: IO-APIC + timer doesn't work!\r\n";
        assert_eq!(panic(log), Some("IO-APIC + timer doesn't work!"));
        assert_eq!(panic("[ 0.1] x\n"), None);
    }

    #[test]
    fn every_text_is_recognised() {
        for defect in DEFECTS {
            assert_eq!(
                defects(&format!("[ 1.0] x {defect} y")).len(),
                1,
                "{defect}"
            );
        }
    }
}

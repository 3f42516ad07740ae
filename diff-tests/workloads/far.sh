# A process that moves to another NUMA node than its memory, which follows.
prepare() {
    mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug
    numa=/sys/kernel/debug/sched/numa_balancing
    for setting in scan_delay_ms scan_period_min_ms; do
        echo 100 >$numa/$setting
    done
}
work() {
    echo 1 >/proc/sys/kernel/numa_balancing
    guest-work far 4000
    echo 0 >/proc/sys/kernel/numa_balancing
}

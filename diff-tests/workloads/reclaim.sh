# A process that has to free memory itself: a disk read through the page cache, while the kernel keeps nearly all that is free for
# itself, and its own threads for that run only where nothing else wants to.
prepare() {
    modprobe loop
    # It has no blocks, so that reading it takes pages of the disk's cache only, which can be freed at once.
    truncate -s 1G disk
    disk=$(losetup --find --show disk)
    least=$(cat /proc/sys/vm/min_free_kbytes)
    for thread in $(pgrep kswapd); do
        chrt --idle --pid 0 "$thread"
        taskset --cpu-list --pid 0 "$thread"
    done
}
work() {
    free=$(sed -n 's/^MemFree: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    echo $((free - 32768)) >/proc/sys/vm/min_free_kbytes
    taskset --cpu-list 0 dd if="$disk" of=/dev/null bs=1M count=300 status=none || true
    echo "$least" >/proc/sys/vm/min_free_kbytes
    losetup --detach "$disk"
}

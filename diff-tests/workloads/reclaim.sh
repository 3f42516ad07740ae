# Memory taken where little is left, so that processes free it themselves: the kernel is told to keep most of it for itself.
prepare() {
    keep=$(cat /proc/sys/vm/min_free_kbytes)
    cat /usr/bin/* >/dev/null 2>&1 || true
}
work() {
    free=$(awk '/^MemFree/ { print $2 }' /proc/meminfo)
    echo $((free * 9 / 10)) >/proc/sys/vm/min_free_kbytes
    for i in $(seq 20); do
        head -c 20m /dev/zero | tail -c 1 >/dev/null
    done
    echo "$keep" >/proc/sys/vm/min_free_kbytes
}

# Huge pages beyond the free memory: for each that it does not find, the kernel has the process that asks reclaim others.
prepare() { :; }
work() {
    free=$(awk '/^MemFree/ { print $2 }' /proc/meminfo)
    echo $((free / 2048 + 1)) >/proc/sys/vm/nr_hugepages
    echo 0 >/proc/sys/vm/nr_hugepages
}

# Reads and writes of a disk, past the page cache: a loop device over a file in memory.
prepare() {
    modprobe loop
    truncate -s 64M disk
    disk=$(losetup --find --show disk)
}
work() {
    for size in 4k 16k 64k; do
        dd if=/dev/zero of="$disk" bs=$size count=100 oflag=direct status=none
        dd if="$disk" of=/dev/null bs=$size count=100 iflag=direct status=none
    done
    losetup --detach "$disk"
}

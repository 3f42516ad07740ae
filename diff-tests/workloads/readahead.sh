# A disk read through the page cache, which reads ahead: a loop device over a file in memory.
prepare() {
    modprobe loop
    truncate -s 32M disk
    disk=$(losetup --find --show disk)
}
work() {
    dd if="$disk" of=/dev/null bs=16k status=none
    losetup --detach "$disk"
}

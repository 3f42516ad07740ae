# Files on ext4, on a loop device over a file in memory.
prepare() {
    modprobe loop
    modprobe ext4
    truncate -s 64M disk
    mkfs.ext4 -q -F disk
    mkdir mnt
    mount -o loop disk mnt
    cd mnt
}
work() {
    guest-work files 1000
    ls -lR . >/dev/null
    cd ..
    umount mnt
}

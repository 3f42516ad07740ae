# A mirrored disk, over two loop devices, that is flushed.
prepare() {
    modprobe loop
    modprobe raid1
    truncate -s 32M one two
    one=$(losetup --find --show one)
    two=$(losetup --find --show two)
    mdadm --create /dev/md77 --run --level=1 --metadata=1.0 --assume-clean --raid-devices=2 "$one" "$two"
}
work() {
    dd if=/dev/zero of=/dev/md77 bs=4k count=120 oflag=dsync status=none
    mdadm --stop /dev/md77 2>/dev/null
    losetup --detach "$one" "$two"
}

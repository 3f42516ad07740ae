#!/bin/busybox sh
# Init of every guest: the host's root file system (read-only) with the few writable places a test needs,
# then one command, whose streams and exit status go back to the host. See vm/mod.rs.
/bin/busybox mkdir -p /proc /sys /dev /root /host /bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

die() { echo "init: $*" >/dev/console; poweroff -f; }
word() { sed -n "s/.*\\b$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }

while read -r module; do insmod "/modules/$module" || die "insmod $module"; done </modules/order

r=/host
# A folder of the host's: its name there, where it goes, whether it is written to, and how 9p keeps what was read.
share() {
    case $(word vm.share) in
    9p) mount -t 9p -o "trans=virtio,version=9p2000.L,$3,msize=512000,cache=$4" "$1" "$2" ;;
    *) mount -t virtiofs -o "$3" "$1" "$2" ;;
    esac
}

share rootfs /root ro loose || die "no root file system"
mount --bind /root $r
mount -t proc proc $r/proc
mount -t sysfs sys $r/sys
mount -t debugfs debugfs $r/sys/kernel/debug
mount -t tracefs tracefs $r/sys/kernel/tracing
mount -t bpf bpf $r/sys/fs/bpf
mount -t cgroup2 cgroup2 $r/sys/fs/cgroup
mount -t devtmpfs dev $r/dev
mkdir -p $r/dev/pts $r/dev/shm
mount -t devpts devpts $r/dev/pts
for dir in tmp run dev/shm var/tmp; do mount -t tmpfs tmpfs $r/$dir; done
# The repository, or what was built of it, may lie under one of those.
for dir in "$(word vm.root)" "$(word vm.build)"; do
    [ -d "$r$dir" ] || { mkdir -p "$r$dir" && mount --bind "/root$dir" "$r$dir"; }
done
mkdir $r/tmp/out
share out $r/tmp/out rw none || die "no results directory"
ip link set lo up
hostname guest
run=$r/tmp/out/.run/$(word vm.run)
date >"$run/booted"

export HOME=/root TERM="$(word vm.term)" WPROBE_GUEST="$(word vm.kernel)" TMPDIR=/tmp
# The host may have no directory to mount them on.
export MODPROBE_OPTIONS="-d $(word vm.modules)"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ -e "$run/interactive" ]; then
    until [ -c /dev/hvc0 ]; do /bin/usleep 10000; done
    chroot $r /bin/busybox setsid -c /bin/busybox sh "${run#"$r"}/command" </dev/hvc0 >/dev/hvc0 2>&1
else
    for n in 1 2; do until [ -c "$(echo /dev/vport*p$n)" ]; do /bin/usleep 10000; done; done
    out=$(echo /dev/vport*p1) err=$(echo /dev/vport*p2)
    chroot $r /bin/busybox sh "${run#"$r"}/command" </dev/null >"$out" 2>"$err"
fi
echo $? >"$run/status"
dmesg >"$run/dmesg"
/bin/busybox sync
/bin/busybox poweroff -f

# In a guest: what is installed in the root directory $1 is used there, as a user would.
set -e
root=$1
for dir in proc sys dev; do mount --rbind "/$dir" "$root/$dir"; done
for dir in tmp run; do mount -t tmpfs tmpfs "$root/$dir"; done
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root chroot "$root" sh -ec '
    fail() { echo "$*; wprobe run said:"; cat /tmp/said /tmp/rows; exit 1; }
    bpf2wasm convert /usr/sbin/opensnoop -o /tmp/opensnoop.wasm
    modprobe wprobe
    wprobe run /tmp/opensnoop.wasm --runtime kernel-wasm --duration 3 --json >/tmp/rows 2>/tmp/said &
    runs=$!
    while kill -0 $runs 2>/dev/null; do cat /etc/debian_version >/tmp/version; sleep 0.1; done
    wait $runs || fail "it failed"
    grep -q "\"fname\":\"/etc/debian_version\"" /tmp/rows || fail "it saw nothing"
    wprobe unload --all
    modprobe -r wprobe
'

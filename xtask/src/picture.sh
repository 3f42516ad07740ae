# What `cargo xtask picture` shows, run in a guest: picture.sh MODULE WPROBE
insmod "$1"
wprobe=$2
cd "$(mktemp -d)"

# Runs wprobe with the words given, for a few seconds; meanwhile, once it is attached, opens a file that is there and one that is not.
show() {
    echo "$ wprobe $*"
    "$wprobe" "$@" >out 2>err &
    until grep -q attached err || ! kill -0 $!; do sleep 0.2; done
    cat /etc/hostname /nonexistent >/dev/null 2>&1
    wait
    cat err out
    echo
}

show run opensnoop --runtime kernel-wasm --duration 2
show run runqlat --runtime kernel-wasm --duration 3

# Lines typed at an interactive shell.
prepare() { :; }
work() {
    for i in $(seq 120); do
        echo "echo line $i"
    done | script -q -c "bash --norc -i" /dev/null >/dev/null
}

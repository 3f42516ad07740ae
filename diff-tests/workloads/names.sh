# Host names that programs look up.
prepare() { :; }
work() {
    for i in $(seq 60); do
        getent ahosts localhost >/dev/null
    done
}

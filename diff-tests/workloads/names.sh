# Host names that programs look up.
prepare() { :; }
work() {
    for i in $(seq 110); do
        getent ahosts localhost >/dev/null
    done
}

# Sockets that listen, for one connection of each family.
prepare() { :; }
work() {
    for i in $(seq 60); do
        guest-work sockets 1
    done
}

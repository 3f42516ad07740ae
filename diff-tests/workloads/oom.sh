# Processes that need more memory than their control group may have.
prepare() {
    group=/sys/fs/cgroup/small
    echo +memory >/sys/fs/cgroup/cgroup.subtree_control
    mkdir -p $group
    echo 16M >$group/memory.max
}
work() {
    for i in $(seq 4); do
        sh -c "echo \$\$ >$group/cgroup.procs; exec tail /dev/zero" || true
    done
}

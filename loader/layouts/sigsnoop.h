struct events {
    __u32 pid;
    __u32 tpid;
    signal_t sig;
    errno_t ret;
    char comm[16];
};

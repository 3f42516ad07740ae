struct events {
    __u64 ts_ns;
    __u32 pid;
    errno_t ret;
    char comm[16];
    char pathname[255];
};

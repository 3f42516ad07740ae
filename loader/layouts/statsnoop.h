struct events {
    __u64 ts_ns;
    __u32 pid;
    int ret;
    char comm[16];
    char pathname[255];
};

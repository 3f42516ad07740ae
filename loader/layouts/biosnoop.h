struct events {
    char comm[16];
    __u64 delta;
    __u64 qdelta;
    __u64 ts;
    __u64 sector;
    __u32 len;
    __u32 pid;
    __u32 cmd_flags;
    dev_t dev;
};

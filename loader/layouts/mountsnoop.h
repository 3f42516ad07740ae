struct events {
    __u64 delta;
    __u64 flags;
    __u32 pid;
    __u32 tid;
    __u32 mnt_ns;
    errno_t ret;
    char comm[16];
    char fs[8];
    char src[4096];
    char dest[4096];
    char data[512];
    int op;
};

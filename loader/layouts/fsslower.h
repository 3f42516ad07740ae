struct events {
    __u64 delta_us;
    __u64 end_ns;
    __s64 offset;
    __s64 size;
    pid_t pid;
    int op;
    char file[32];
    char task[16];
};

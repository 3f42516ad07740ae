struct events {
    char file[32];
    char task[16];
    __u64 delta_ns;
    pid_t tgid;
};

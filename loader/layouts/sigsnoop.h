struct events {
    __u32 pid;
    __u32 tpid;
    int sig;
    int ret;
    char comm[16];
};

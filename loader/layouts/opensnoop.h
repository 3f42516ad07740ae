struct events {
    __u64 ts;
    pid_t pid;
    uid_t uid;
    int ret;
    int flags;
    __u64 callers[2];
    char comm[16];
    char fname[255];
};

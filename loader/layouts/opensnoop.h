struct events {
    __u64 ts;
    pid_t pid;
    uid_t uid;
    errno_t ret;
    open_flags_t flags;
    __u64 callers[2];
    char comm[16];
    char fname[255];
};

struct events {
    __u64 start_time;
    __u64 exit_time;
    __u32 pid;
    __u32 tid;
    __u32 ppid;
    signal_t sig;
    int exit_code;
    char comm[16];
};

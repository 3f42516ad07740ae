struct events {
    __u64 time;
    __u32 pid;
    char comm[16];
    char host[80];
};

struct events {
    __u32 pid;
    char comm[16];
    char disk[32];
};

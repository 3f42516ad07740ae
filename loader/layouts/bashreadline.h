struct events {
    __u32 pid;
    char line[80];
};

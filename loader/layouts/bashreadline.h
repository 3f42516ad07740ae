struct events {
    __u32 pid;
    char str[80];
};

struct events {
    __u8 addr[16];
    __u32 pid;
    __u32 proto;
    int backlog;
    errno_t ret;
    __u16 port;
    char task[16];
};

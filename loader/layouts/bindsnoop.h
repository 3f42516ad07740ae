struct events {
    __u8 addr[16];
    __u64 ts_us;
    __u32 pid;
    __u32 bound_dev_if;
    errno_t ret;
    __u16 port;
    __u16 proto;
    __u8 opts;
    __u8 ver;
    char task[16];
};

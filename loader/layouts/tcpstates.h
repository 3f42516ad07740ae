struct events {
    union { __be32 saddr_v4; __u8 saddr_v6[16]; };
    union { __be32 daddr_v4; __u8 daddr_v6[16]; };
    __u64 skaddr;
    __u64 ts_us;
    __u64 delta_us;
    __u32 pid;
    int oldstate;
    int newstate;
    __u16 family;
    __u16 sport;
    __u16 dport;
    char task[16];
};

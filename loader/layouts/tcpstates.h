struct events {
    union { __be32 _v4; __u8 _v6[16]; } saddr;
    union { __be32 _v4; __u8 _v6[16]; } daddr;
    __u64 skaddr;
    __u64 ts_us;
    __u64 delta_us;
    __u32 pid;
    tcp_state_t oldstate;
    tcp_state_t newstate;
    sa_family_t family;
    __u16 sport;
    __u16 dport;
    char task[16];
};

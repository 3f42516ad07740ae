struct events {
    union { __be32 _v4; __u8 _v6[16]; } saddr;
    union { __be32 _v4; __u8 _v6[16]; } daddr;
    __u64 ts_us;
    __u64 span_us;
    __u64 rx_b;
    __u64 tx_b;
    __u32 pid;
    __u16 sport;
    __u16 dport;
    sa_family_t family;
    char comm[16];
};

struct events {
    union { __be32 saddr_v4; __u8 saddr_v6[16]; };
    union { __be32 daddr_v4; __u8 daddr_v6[16]; };
    __u64 ts_us;
    __u64 span_us;
    __u64 rx_b;
    __u64 tx_b;
    __u32 pid;
    __u16 sport;
    __u16 dport;
    __u16 family;
    char comm[16];
};

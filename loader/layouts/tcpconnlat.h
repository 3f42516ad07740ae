struct events {
    union { __be32 saddr_v4; __u8 saddr_v6[16]; };
    union { __be32 daddr_v4; __u8 daddr_v6[16]; };
    char comm[16];
    __u64 delta_us;
    __u64 ts_us;
    __u32 tgid;
    family_t af;
    __u16 lport;
    __be16 dport;
};

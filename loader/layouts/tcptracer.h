struct events {
    union { __be32 saddr_v4; __u8 saddr_v6[16]; };
    union { __be32 daddr_v4; __u8 daddr_v6[16]; };
    char task[16];
    __u64 ts_us;
    family_t af;
    __u32 pid;
    __u32 uid;
    __u32 netns;
    __be16 dport;
    __be16 sport;
    __u8 type;
};

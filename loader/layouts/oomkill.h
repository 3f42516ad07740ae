struct events {
    __u32 fpid;
    __u32 tpid;
    __u64 pages;
    char fcomm[16];
    char tcomm[16];
};

struct perf_map {
    __u32 cpu;
    __u32 pid;
    __u64 ts;
};

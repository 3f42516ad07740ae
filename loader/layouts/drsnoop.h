struct events {
    char task[16];
    __u64 delta_ns;
    __u64 nr_reclaimed;
    __u64 nr_free_pages;
    pid_t pid;
};

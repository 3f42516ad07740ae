struct events {
    char task[16];
    char prev_task[16];
    __u64 delta_us;
    pid_t pid;
    pid_t prev_pid;
};

# Threads that take turns on one CPU.
prepare() { :; }
work() { exec guest-work turns 2000; }

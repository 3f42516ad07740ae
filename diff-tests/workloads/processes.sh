# Programs that start, run for a moment, sleep and end, on every CPU.
prepare() { :; }
work() { exec guest-work processes 60; }

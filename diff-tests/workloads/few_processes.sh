# Programs that start, run for a moment, sleep and end, on every CPU: few, for those who tell of each switch.
prepare() { :; }
work() { exec guest-work processes 15; }

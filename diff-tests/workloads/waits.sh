# A thread that waits for another.
prepare() { :; }
work() { exec guest-work waits 300; }

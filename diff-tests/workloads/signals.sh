# Signals that a process sends itself.
prepare() { :; }
work() { exec guest-work signals 200; }

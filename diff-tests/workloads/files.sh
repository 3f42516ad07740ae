# Files made, opened, written, read, synced and removed, on every CPU.
prepare() { :; }
work() { exec guest-work files 3000; }

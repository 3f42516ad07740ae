# A file system mounted and unmounted.
prepare() { :; }
work() { exec guest-work mounts 60; }

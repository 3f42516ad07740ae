# Attributes of files and file systems, by every call there is.
prepare() { :; }
work() { exec guest-work stats 40; }

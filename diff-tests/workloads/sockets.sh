# TCP connections over loopback, IPv4 and IPv6.
prepare() { :; }
work() { exec guest-work sockets 60; }

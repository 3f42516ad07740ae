/* Tail calls from functions, in a probe. */
#define ENTRY "kprobe/__x64_sys_getpgrp"
#define TARGET "kprobe"
#include "tailwithin.h"

/* Tail calls from functions, to be test-run. */
#define ENTRY "?raw_tp/within"
#define TARGET "?raw_tp/within"
#include "tailwithin.h"

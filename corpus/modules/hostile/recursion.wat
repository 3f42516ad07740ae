;; traps: call stack
;; Calls itself without end.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (call $run)))

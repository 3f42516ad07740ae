;; traps: call stack
;; Two functions that call each other.
(module
  (memory (export "memory") 1)
  (func $other (call $run))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (call $other)))

;; traps: out of bounds
;; Stores across the end of its memory.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (i64.store (i32.const 65529) (i64.const -1))))

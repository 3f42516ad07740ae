;; traps: out of bounds
;; Fills behind its memory.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (memory.fill (i32.const 1) (i32.const 0xff) (i32.const 65536))))

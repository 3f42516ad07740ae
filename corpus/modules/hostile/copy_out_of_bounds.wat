;; traps: out of bounds
;; Copies from behind its memory.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (memory.copy (i32.const 0) (i32.const 0xffff) (i32.const 2))))

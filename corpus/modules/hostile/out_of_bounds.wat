;; traps: out of bounds
;; Reads behind its memory.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (drop (i32.load (i32.const 0x7fffffff)))))

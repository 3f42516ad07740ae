;; traps: growth refused
;; Asks for more memory at a hit.
(module
  (memory (export "memory") 1 10)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (drop (memory.grow (i32.const 1)))))

;; traps: division
;; Divides the least number by -1.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))))

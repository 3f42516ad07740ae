;; traps: division
;; Divides by zero.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (drop (i64.div_u (i64.const 1) (i64.const 0)))))

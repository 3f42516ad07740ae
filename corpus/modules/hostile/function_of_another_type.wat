;; traps: wrong function
;; Calls a function by a type it does not have.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (elem (i32.const 0) $run)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (drop (call_indirect (param i32) (result i32) (i32.const 1) (i32.const 0)))))

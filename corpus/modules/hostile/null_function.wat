;; traps: wrong function
;; Calls an empty table element.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (call_indirect (i32.const 0))))

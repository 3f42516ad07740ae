;; traps: wrong function
;; Calls an element behind the table.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (call_indirect (i32.const -1))))

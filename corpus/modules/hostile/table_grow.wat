;; traps: growth refused
;; Asks for a larger table at a hit.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (drop (table.grow (ref.null func) (i32.const 1)))))

;; refused: 
;; A table of a billion elements.
(module
  (memory (export "memory") 1)
  (table 1000000000 funcref)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

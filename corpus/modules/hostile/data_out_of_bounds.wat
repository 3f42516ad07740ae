;; refused: 
;; Its data does not fit its memory.
(module
  (memory (export "memory") 1)
  (data (i32.const 0xffff) "two")
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

;; refused: call stack
;; Its start function calls itself.
(module
  (memory (export "memory") 1)
  (func $start (call $start))
  (start $start)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

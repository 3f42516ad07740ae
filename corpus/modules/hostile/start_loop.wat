;; refused: budget
;; Its start function never ends.
(module
  (memory (export "memory") 1)
  (func $start (loop $forever (br $forever)))
  (start $start)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

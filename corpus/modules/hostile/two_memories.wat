;; refused: validate
;; Two memories.
(module
  (memory (export "memory") 1)
  (memory $second 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

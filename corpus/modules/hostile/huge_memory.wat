;; refused: limit max_memory
;; Wants 2 GiB.
(module
  (memory (export "memory") 32768)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

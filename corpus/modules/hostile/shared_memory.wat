;; refused: validate
;; A memory shared between threads.
(module
  (memory (export "memory") 1 1 shared)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

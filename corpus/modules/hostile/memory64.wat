;; refused: validate
;; A memory with 64-bit addresses.
(module
  (memory (export "memory") i64 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

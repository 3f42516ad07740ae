;; refused: only for a module that uses its sandbox
;; Has its own memory, yet wants a map.
(module
  (import "map" "hash" (global i64))
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

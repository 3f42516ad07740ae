;; refused: a value that the loader did not put in
;; Has its own memory, yet wants a map.
(module
  (import "map" "hash" (global i64))
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

;; refused: only for a module that uses its sandbox
;; Has its own memory, yet calls a helper.
(module
  (import "bpf" "ktime_get_ns" (func (result i64)))
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

;; traps: outside guest memory
;; A key at a kernel address.
(module
  (import "env" "memory" (memory 1))
  (import "bpf" "map_lookup_elem" (func $lookup (param i64 i64) (result i64)))
  (import "map" "hash" (global $hash i64))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (call $lookup (global.get $hash) (i64.const 0xffffffff81000000))))

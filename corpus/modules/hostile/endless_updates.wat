;; traps: budget
;; Writes to a map without end.
(module
  (import "env" "memory" (memory 1))
  (import "bpf" "map_update_elem" (func $update (param i64 i64 i64 i64) (result i64)))
  (import "map" "hash" (global $hash i64))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (loop $forever
      (drop (call $update (global.get $hash) (i64.const 0x5742d00000002000) (i64.const 0x5742d00000002000) (i64.const 0)))
      (br $forever))
    (unreachable)))

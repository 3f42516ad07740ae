;; traps: outside guest memory
;; A value across the end of memory.
(module
  (import "env" "memory" (memory 1))
  (import "bpf" "map_update_elem" (func $update (param i64 i64 i64 i64) (result i64)))
  (import "map" "hash" (global $hash i64))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (call $update (global.get $hash) (i64.const 0x5742d00000002000)
      (i64.or (i64.const 0x5742d00000000000)
        (i64.sub (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)) (i64.const 1)))
      (i64.const 0))))

;; traps: misaligned
;; An atomic addition at an odd address.
(module
  (import "env" "memory" (memory 1))
  (import "atomic" "add64" (func $add (param i64 i64) (result i64)))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (call $add (i64.const 0x5742d00000002001) (i64.const 1))))

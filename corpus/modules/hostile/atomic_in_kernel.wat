;; traps: outside guest memory
;; An atomic addition in the kernel.
(module
  (import "env" "memory" (memory 1))
  (import "atomic" "add64" (func $add (param i64 i64) (result i64)))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (call $add (i64.const 0xffffffff81000000) (i64.const 1))))

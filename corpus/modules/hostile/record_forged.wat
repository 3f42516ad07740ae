;; traps: outside guest memory
;; Submits what it never reserved.
(module
  (import "env" "memory" (memory 1))
  (import "bpf" "ringbuf_reserve" (func $reserve (param i64 i64 i64) (result i64)))
  (import "bpf" "ringbuf_submit" (func $submit (param i64 i64) (result i64)))
  (import "map" "ringbuf" (global $ring i64))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (drop (call $submit (i64.const 0x5742d00000002000) (i64.const 0)))
    (drop (call $submit (i64.const 0xffffffff81000000) (i64.const 0)))
    (call $submit (i64.const 0) (i64.const 0))))

;; runs
;; Submits a record twice.
(module
  (import "env" "memory" (memory 1))
  (import "bpf" "ringbuf_reserve" (func $reserve (param i64 i64 i64) (result i64)))
  (import "bpf" "ringbuf_submit" (func $submit (param i64 i64) (result i64)))
  (import "map" "ringbuf" (global $ring i64))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (local $record i64)
    (local.set $record (call $reserve (global.get $ring) (i64.const 8) (i64.const 0)))
    (drop (call $submit (local.get $record) (i64.const 0)))
    (call $submit (local.get $record) (i64.const 0))))

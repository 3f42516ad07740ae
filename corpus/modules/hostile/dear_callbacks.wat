;; traps: budget
;; A callback that does nothing.
(module (@custom "bpf2wasm.license" "GPL") (import "env" "memory" (memory 1))
  (import "bpf" "loop" (func $loop (param i64 i64 i64 i64) (result i64)))
  (table (export "callbacks") 1 funcref) (elem (i32.const 0) $each)
  (func $each (param i64 i64 i64 i64 i64) (result i64) (i64.const 0))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64)
    (loop $f (drop (call $loop (i64.const 8000000) (i64.const 0) (i64.const 0) (i64.const 0))) (br $f)) (unreachable)))

;; traps: budget
;; Lines in the trace log of 1,024 bytes, from seven.
(module (@custom "bpf2wasm.license" "GPL") (import "env" "memory" (memory 1))
  (import "bpf" "trace_printk" (func $s (param i64 i64 i64 i64 i64) (result i64)))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64)
    (i64.store (i32.const 0xf000) (i64.const 0x00643432303125)) ;; "%1024d"
    (loop $f (drop (call $s (i64.const 0x5742d0000000f000) (i64.const 7) (i64.const 1) (i64.const 1) (i64.const 1))) (br $f)) (unreachable)))

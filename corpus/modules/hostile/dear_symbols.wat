;; traps: budget
;; Symbols of the largest kernel module there may be.
(module (@custom "bpf2wasm.license" "GPL") (import "env" "memory" (memory 1))
  (import "bpf" "snprintf" (func $s (param i64 i64 i64 i64 i64) (result i64)))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64)
    (i32.store (i32.const 0xf000) (i32.const 0x00537025)) ;; "%pS"
    (i64.store (i32.const 0xf100) (i64.const 0xffffffffc0100000))
    (loop $f (drop (call $s (i64.const 0x5742d0000000f200) (i64.const 64) (i64.const 0x5742d0000000f000) (i64.const 0x5742d0000000f100) (i64.const 8))) (br $f)) (unreachable)))

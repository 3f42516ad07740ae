;; traps: budget
;; A lock that is never free.
(module (@custom "bpf2wasm.license" "GPL") (import "env" "memory" (memory 1))
  (import "bpf" "spin_lock" (func $s (param i64) (result i64)))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64)
    (loop $f (drop (call $s (i64.const 0x5742d0000000f000))) (br $f)) (unreachable)))

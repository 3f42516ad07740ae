;; traps: budget
;; Loads that fault.
(module (@custom "bpf2wasm.license" "GPL") (import "env" "memory" (memory 1))
  (import "bpf" "probe_load64" (func $s (param i64) (result i64)))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64)
    (loop $f (drop (call $s (i64.const 0xffffff0000000000))) (br $f)) (unreachable)))

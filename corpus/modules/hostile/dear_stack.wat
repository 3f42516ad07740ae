;; traps: budget
;; User stacks of which 126 frames are skipped.
(module (@custom "bpf2wasm.license" "GPL") (import "env" "memory" (memory 1))
  (import "map" "stack_trace" (global $m i64))
  (import "bpf" "get_stackid" (func $s (param i64 i64 i64) (result i64)))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64)
    (loop $f (drop (call $s (local.get 0) (global.get $m) (i64.const 0x57e))) (br $f)) (unreachable)))

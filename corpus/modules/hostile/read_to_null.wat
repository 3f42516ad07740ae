;; traps: outside guest memory
;; Has kernel memory copied to address 0.
(module
  (@custom "bpf2wasm.license" "GPL")
  (import "env" "memory" (memory 1))
  (import "bpf" "probe_read_kernel" (func $read (param i64 i64 i64) (result i64)))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (call $read (i64.const 0) (i64.const 8) (i64.const 0xffffffff81000000))))

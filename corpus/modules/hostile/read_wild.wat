;; runs
;; Reads at addresses that are nowhere: an error each, no fault.
(module
  (@custom "bpf2wasm.license" "GPL")
  (import "env" "memory" (memory 1))
  (import "bpf" "probe_read_kernel" (func $read (param i64 i64 i64) (result i64)))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (drop (call $read (i64.const 0x5742d00000002000) (i64.const 64) (i64.const 0)))
    (drop (call $read (i64.const 0x5742d00000002000) (i64.const 64) (i64.const -1)))
    (drop (call $read (i64.const 0x5742d00000002000) (i64.const 64) (i64.const 0xffff800000000000)))
    (drop (call $read (i64.const 0x5742d00000002000) (i64.const 64) (i64.const 0x800000000000)))
    (drop (call $read (i64.const 0x5742d00000002000) (i64.const 64) (i64.const 0xfffffffffffffff0)))
    (drop (call $read (i64.const 0x5742d00000002000) (i64.const 64) (i64.const 0xffffffffff5ff000)))
    (drop (call $read (i64.const 0x5742d00000002000) (i64.const 64) (i64.const 0x5742d00000000000)))
    (drop (call $read (i64.const 0x5742d00000002000) (i64.const 64) (i64.const 0xdead000000000122)))
    (i64.const 0)))

;; runs
;; A format with every conversion, and addresses that are nowhere.
(module
  (@custom "bpf2wasm.license" "GPL")
  (import "env" "memory" (memory 1))
  (import "bpf" "snprintf" (func $snprintf (param i64 i64 i64 i64 i64) (result i64)))
  (import "bpf" "trace_printk" (func $printk (param i64 i64 i64 i64 i64) (result i64)))
  (data $text "%s%n%pI4%999999999d%%%s\00")
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (memory.init $text (i32.const 0x2000) (i32.const 0) (i32.const 24))
    (drop (call $snprintf (i64.const 0x5742d00000003000) (i64.const 64) (i64.const 0x5742d00000002000) (i64.const 0x5742d00000002800) (i64.const 32)))
    (call $printk (i64.const 0x5742d00000002000) (i64.const 24) (i64.const -1) (i64.const 0xffff800000000000) (i64.const 1))))

;; traps: budget
;; Has 64 KiB copied, without end.
(module
  (@custom "bpf2wasm.license" "GPL")
  (import "env" "memory" (memory 1))
  (import "bpf" "probe_read_kernel" (func $read (param i64 i64 i64) (result i64)))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (loop $forever
      (drop (call $read (i64.const 0x5742d00000002000) (i64.const 0xf000) (i64.const 0xffffffff81000000)))
      (br $forever))
    (unreachable)))

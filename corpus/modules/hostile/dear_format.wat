;; traps: budget
;; Twelve strings of 1,024 bytes of a user's, byte by byte, twice.
(module (@custom "bpf2wasm.license" "GPL") (import "env" "memory" (memory 16))
  (import "bpf" "snprintf" (func $s (param i64 i64 i64 i64 i64) (result i64)))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64) (local i32)
    (loop $l
      (i32.store (i32.add (i32.const 0xfffc0) (i32.mul (local.get 1) (i32.const 5))) (i32.const 0x73757025)) ;; "%pus"
      (i32.store8 (i32.add (i32.const 0xfffc4) (i32.mul (local.get 1) (i32.const 5))) (i32.const 0x2c))
      (i64.store (i32.add (i32.const 0xff000) (i32.mul (local.get 1) (i32.const 8))) (i64.const 0x10000000))
      (br_if $l (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (i32.const 12))))
    (i32.store8 (i32.const 0xffffc) (i32.const 0))
    (loop $f
      (drop (call $s (i64.const 0x5742d000000fe000) (i64.const 8) (i64.const 0x5742d000000fffc0) (i64.const 0x5742d000000ff000) (i64.const 96)))
      (br $f)) (unreachable)))

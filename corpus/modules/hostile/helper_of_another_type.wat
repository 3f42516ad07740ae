;; refused: wrong type
;; A helper with 32-bit parameters.
(module
  (import "env" "memory" (memory 1))
  (import "bpf" "map_lookup_elem" (func (param i32 i32) (result i32)))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (i64.const 0)))

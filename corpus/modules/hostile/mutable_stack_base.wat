;; refused: wrong type
;; Wants to move its stack.
(module
  (import "env" "memory" (memory 1))
  (import "env" "stack_base" (global (mut i32)))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (i64.const 0)))

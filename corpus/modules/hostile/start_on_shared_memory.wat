;; refused: 
;; A start function would run once for each CPU.
(module
  (import "env" "memory" (memory 1))
  (func $start)
  (start $start)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre") (param $context i64) (result i64)
    (i64.const 0)))

;; refused: multi-value
;; A branch that moves values for one instruction's price.
(module
  (memory (export "memory") 1)
  (func (export "kprobe:__x64_sys_getpgrp:pre")
    (drop (drop (i64.const 1) (i64.const 2) (loop $forever (param i64 i64) (result i64 i64) (br $forever))))))

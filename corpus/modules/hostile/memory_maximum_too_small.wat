;; refused: 
;; Says its memory never has more than a page.
(module
  (import "env" "memory" (memory 1 1))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64) (i64.const 0)))

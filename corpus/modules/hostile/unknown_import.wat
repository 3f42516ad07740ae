;; refused: bpf.no_such_helper
;; Imports what no runtime has.
(module
  (import "bpf" "no_such_helper" (func (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")))

;; refused: none of that name
;; More parameters than a syscall has.
(module
  (memory (export "memory") 1)
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64 i64 i64 i64 i64 i64 i64)))

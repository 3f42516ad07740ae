;; refused: validate
;; Uses vector registers.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (drop (i8x16.splat (i32.const 1)))))

;; traps: out of bounds
;; Copies from data it has dropped.
(module
  (memory (export "memory") 1)
  (data $text "text")
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (data.drop $text)
    (memory.init $text (i32.const 0) (i32.const 0) (i32.const 1))))

;; traps: out of bounds
;; Address and offset together exceed 32 bits.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (drop (i32.load offset=0xffffffff (i32.const 0xffffffff)))))

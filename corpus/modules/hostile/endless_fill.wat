;; traps: budget
;; Fills its memory again and again.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (loop $forever
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))
      (br $forever))))

;; traps: budget
;; Never ends.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (loop $forever (br $forever))))

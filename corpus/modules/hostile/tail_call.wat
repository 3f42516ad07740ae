;; refused: validate
;; A tail call, which the runtime does not have.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (return_call $run)))

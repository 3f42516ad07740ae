;; refused: validate
;; Throws an exception.
(module
  (memory (export "memory") 1)
  (tag $oops)
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (throw $oops)))

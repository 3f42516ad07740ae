;; refused: validate
;; A probe that returns a float.
(module
  (memory (export "memory") 1)
  (func (export "kprobe:__x64_sys_getpgrp:pre") (result f32) unreachable))

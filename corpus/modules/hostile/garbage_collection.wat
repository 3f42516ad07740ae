;; refused: validate
;; Has an object for a collector.
(module
  (memory (export "memory") 1)
  (type $point (struct (field i32)))
  (func $run (export "kprobe:__x64_sys_getpgrp:pre")
    (drop (struct.new_default $point))))

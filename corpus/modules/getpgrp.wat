;; Counts getpgrp (to nine) after its first instruction. `report` is the count.
(module
  (memory (export "memory") 1)
  (global (export "buffer") i32 (i32.const 1024))
  (global (export "report_buffer") i32 (i32.const 1280))
  (global (export "buffer_size") i32 (i32.const 1536))
  (data (i32.const 1536) "\00\01\00\00")
  (data (i32.const 1280) "0\00")

  (func (export "kprobe:__x64_sys_getpgrp:post")
    (i32.store8 (i32.const 1280) (i32.add (i32.load8_u (i32.const 1280)) (i32.const 1))))
  (func (export "report") (result i32) (i32.const 1280)))

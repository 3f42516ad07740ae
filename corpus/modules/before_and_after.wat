;; Counts getpgrp (to nine) both before and after its first instruction. `report` is both counts.
(module
  (memory (export "memory") 1)
  (data (i32.const 1280) "0 0\00")
  (func $count (param $at i32)
    (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1))))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (call $count (i32.const 1280)))
  (func (export "kprobe:__x64_sys_getpgrp:post") (call $count (i32.const 1282)))
  (func (export "report") (result i32) (i32.const 1280)))

;; Counts mkdir; `report` is the count, the last mode and the last pathname.
;; The spelling of the symbol is the one of the format's first users.
(module
  (memory (export "memory") 1)
  (global (export "buffer") i32 (i32.const 1024))
  (global (export "report_buffer") i32 (i32.const 1280))
  (global (export "buffer_size") i32 (i32.const 1536))
  (data (i32.const 1536) "\00\01\00\00")
  (global $count (mut i64) (i64.const 0))
  (global $mode (mut i32) (i32.const 0))

  (func (export "kprobe:__x86_sys_mkdir:pre") (param $path i32) (param $mode i32)
    (global.set $mode (local.get $mode))
    (global.set $count (i64.add (global.get $count) (i64.const 1))))

  ;; Writes $n in decimal at $to; the end of it.
  (func $decimal (param $n i64) (param $to i32) (result i32)
    (local $rest i64)
    (local.set $rest (local.get $n))
    (loop $digits
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (br_if $digits (i64.ne (i64.const 0)
        (local.tee $rest (i64.div_u (local.get $rest) (i64.const 10))))))
    (local.set $rest (i64.extend_i32_u (local.get $to)))
    (loop $write
      (local.set $to (i32.sub (local.get $to) (i32.const 1)))
      (i32.store8 (local.get $to)
        (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10)))))
      (br_if $write (i64.ne (i64.const 0)
        (local.tee $n (i64.div_u (local.get $n) (i64.const 10))))))
    (i32.wrap_i64 (local.get $rest)))

  (func $space (param $at i32) (result i32)
    (i32.store8 (local.get $at) (i32.const 32))
    (i32.add (local.get $at) (i32.const 1)))

  (func (export "report") (result i32)
    (local $to i32)
    (local $from i32)
    (local.set $to (call $space (call $decimal (global.get $count) (i32.const 1280))))
    (local.set $to (call $space
      (call $decimal (i64.extend_i32_u (global.get $mode)) (local.get $to))))
    (local.set $from (i32.const 1024))
    (loop $copy
      (i32.store8 (local.get $to) (i32.load8_u (local.get $from)))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br_if $copy (i32.load8_u (i32.sub (local.get $from) (i32.const 1)))))
    (i32.const 1280)))

;; Counts accept4, which servers take connections with. `report` is the count.
(module
  (memory (export "memory") 1)
  (global (export "buffer") i32 (i32.const 1024))
  (global (export "report_buffer") i32 (i32.const 1280))
  (global (export "buffer_size") i32 (i32.const 1536))
  (data (i32.const 1536) "\00\01\00\00")
  (global $count (mut i64) (i64.const 0))

  (func (export "kprobe:__x64_sys_accept4:pre") (param $fd i32) (param $address i32) (param $length i32) (param $flags i32)
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

  (func (export "report") (result i32)
    (i32.store8 (call $decimal (global.get $count) (i32.const 1280)) (i32.const 0))
    (i32.const 1280)))

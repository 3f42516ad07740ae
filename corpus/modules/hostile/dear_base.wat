;; traps: budget
;; What a budget buys in the plainest loop: others are held against it.
(module (@custom "bpf2wasm.license" "GPL") (import "env" "memory" (memory 1))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64) (loop $f (br $f)) (unreachable)))

;; traps: budget
;; Updates of a full LRU map with a new key each time, whose elements are used meanwhile.
(module (@custom "bpf2wasm.license" "GPL") (import "env" "memory" (memory 1))
  (import "map" "lru_hash" (global $m i64))
  (import "bpf" "map_update_elem" (func $u (param i64 i64 i64 i64) (result i64)))
  (import "bpf" "map_lookup_elem" (func $s (param i64 i64) (result i64)))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64)
    (loop $f
      (drop (call $u (global.get $m) (i64.const 0x5742d0000000f000) (i64.const 0x5742d0000000f100) (i64.const 0)))
      (drop (call $s (global.get $m) (i64.const 0x5742d0000000f000)))
      (i64.store (i32.const 0xf000) (i64.add (i64.load (i32.const 0xf000)) (i64.const 1)))
      (br $f)) (unreachable)))

;; traps: budget
;; Look-ups in a trie each of whose prefixes is the next one's. What it lies in has 2,048 of them, and keys of 260 bytes, where time is taken.
(module (@custom "bpf2wasm.license" "GPL") (import "env" "memory" (memory 1))
  (import "map" "lpm_trie" (global $m i64))
  (import "bpf" "map_lookup_elem" (func $s (param i64 i64) (result i64)))
  (func (export "kprobe:__x64_sys_getpgrp:pre") (param i64) (result i64)
    (i32.store (i32.const 0xf000) (i32.const 2048))
    (loop $f (drop (call $s (global.get $m) (i64.const 0x5742d0000000f000))) (br $f)) (unreachable)))

;; refused: memory
;; Has a syscall with a pathname and no memory to put it.
(module
  (func $run (export "kprobe:__x64_sys_mkdir:pre") (param $path i32) (param $mode i32)))

;; Has a syscall with a pathname and no memory to put it: refused or its operation disabled.
(module
  (func $run (export "kprobe:__x64_sys_mkdir:pre") (param $path i32) (param $mode i32)))

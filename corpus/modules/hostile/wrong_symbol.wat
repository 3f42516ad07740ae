;; refused: no description of syscall
;; Probes a symbol no kernel has.
(module
  (memory (export "memory") 1)
  (func $run (export "kprobe:__x64_sys_no_such_syscall:pre")))

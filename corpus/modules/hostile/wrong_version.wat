;; refused: validate
;; A version nobody has defined.
(module binary
  "\00asm\ff\ff\ff\ff")

;; refused: validate
;; Code before types.
(module binary
  "\00asm\01\00\00\00"
  "\0a\01\00"
  "\01\01\00")

;; refused: validate
;; Ends inside its header.
(module binary
  "\00asm\01")

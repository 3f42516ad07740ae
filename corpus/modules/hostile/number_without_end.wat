;; refused: validate
;; A LEB128 number that never stops.
(module binary
  "\00asm\01\00\00\00"
  "\01\80\80\80\80\80\80\80\80\80\80\00")

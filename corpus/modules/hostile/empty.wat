;; refused: validate
;; No bytes at all.
(module binary
)

//! Instructions to text, as [`super::asm`] reads it.

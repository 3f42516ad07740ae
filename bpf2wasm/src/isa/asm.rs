//! Text to instructions.

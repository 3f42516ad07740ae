//! The `wprobe` command.
fn main() {}

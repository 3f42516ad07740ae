//! Loads translated modules and drives `/dev/wprobe`.

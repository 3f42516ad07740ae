//! What the environment sets: how much of a test to run.

use std::env;

use anyhow::{Context, Result};

/// The number that the environment variable `name` holds; `default` where it is not set.
pub fn number(name: &str, default: u64) -> Result<u64> {
    match env::var_os(name) {
        None => Ok(default),
        Some(text) => {
            let number = text.to_str().and_then(|text| text.parse().ok());
            number.with_context(|| format!("{name} is no number: {}", text.display()))
        }
    }
}

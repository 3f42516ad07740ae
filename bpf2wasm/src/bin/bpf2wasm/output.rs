//! One writer for people and machines.

use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};
use serde::Serialize;

/// How to print results.
#[derive(clap::Args)]
pub(crate) struct Format {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Format {
    /// Prints `value`: as JSON, or as `text` makes it.
    pub(crate) fn print<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        write(self.text(value, text)?.as_bytes())
    }

    /// As [`Format::print`], to where messages go: standard output has something else.
    pub(crate) fn print_aside<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<()> {
        let text = self.text(value, text)?;
        io::stderr()
            .write_all(text.as_bytes())
            .context("standard error")
    }

    fn text<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<String> {
        Ok(match self.json {
            true => serde_json::to_string_pretty(value)? + "\n",
            false => text(value),
        })
    }
}

/// Writes to standard output. Whoever closed it has seen enough; if it is full, that is an error.
pub(crate) fn write(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("standard output"),
    }
}

//! Records as text and as JSON: events in columns, maps as tables, slots as histograms, stacks as functions.

pub mod histogram;
mod stack;
mod stream;
mod table;

pub use stack::Symbols;
pub use stream::{Stream, event_json};
pub use table::View;

use serde_json::Value;

use crate::record::Cell;

/// A field's name as a column's title: `delta_us` is `DELTA(us)`.
fn title(name: &str) -> String {
    let units = ["us", "ns", "ms"];
    let unit = units.into_iter().find_map(|unit| {
        let stem = name.strip_suffix(unit)?.strip_suffix('_')?;
        Some(format!("{}({unit})", stem.to_uppercase()))
    });
    unit.unwrap_or_else(|| name.to_uppercase())
}

/// A cell in a column.
fn plain(cell: &Cell) -> String {
    match cell {
        Cell::Plain(Value::String(text)) => text.clone(),
        Cell::Named(meaning, number) => meaning.text(*number),
        cell => cell.to_json().to_string().replace('"', ""),
    }
}

/// Whether it is aligned to the right.
fn is_number(cell: &Cell) -> bool {
    matches!(cell, Cell::Plain(Value::Number(_)) | Cell::StackId(_))
}

//! Source lines by site, from the object's `.BTF.ext`.
//!
//! A section of its own rather than DWARF: a runtime reports sites, not code offsets, and a reader then needs no DWARF library.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use abi::manifest::{Line, Lines};

use crate::analysis::Analysed;
use crate::object::Object;

/// The lines of all translated functions; `None` if there are none.
pub(crate) fn build(object: &Object<'_>, analysed: &Analysed) -> Option<Lines> {
    let mut files = Vec::new();
    let mut known = BTreeMap::new();
    let mut lines = Vec::new();
    for (function, analysis) in analysed.reached() {
        for line in &object.functions[function].lines {
            let file = *known.entry(line.file).or_insert_with(|| {
                files.push(object.string(line.file).to_owned());
                files.len() as u32 - 1
            });
            let site = analysis.site + line.slot;
            lines.push(Line {
                site,
                file,
                line: line.line,
                column: line.column,
            });
        }
    }
    (!lines.is_empty()).then_some(Lines { files, lines })
}

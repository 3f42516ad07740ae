//! What of a whole module is looked at.

use crate::body::Reader;

/// Bytes of magic and version.
const HEADER: u64 = 8;
/// The number of the section that has the functions' bodies.
const CODE: u8 = 10;

/// How many locals, parameters aside, that function of the module has that has most; `None` if its sections cannot be
/// followed so far. Any bytes do.
pub fn most_locals(module: &[u8]) -> Option<u64> {
    let mut reader = Reader(module);
    reader.take(HEADER)?;
    let mut most = 0;
    while let Some(section) = reader.byte() {
        let size = reader.number()?;
        let mut section_reader = Reader(reader.take(size)?);
        if section != CODE {
            continue;
        }
        for _ in 0..section_reader.number()? {
            let size = section_reader.number()?;
            let mut body = Reader(section_reader.take(size)?);
            most = most.max(body.locals()?);
        }
    }
    Some(most)
}

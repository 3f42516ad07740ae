//! The back end: function bodies, the module around them, its manifest.

pub(crate) mod body;
pub(crate) mod imports;
pub(crate) mod lines;
pub(crate) mod manifest;
pub(crate) mod module;
pub(crate) mod resized;

//! The front end: an ELF object becomes functions, maps, data and what refers to what.

pub mod btf;
pub mod embedded;

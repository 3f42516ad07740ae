//! All integration tests, in one binary: it links an engine, which takes longer than the tests.

mod cli;
mod corpus;
mod filetests;
mod objects;
mod properties;
mod reject;
mod semantics;
mod sessions;
mod support;
mod verdicts;

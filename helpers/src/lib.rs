//! Maps and helper functions, once, for every runtime.
#![no_std]

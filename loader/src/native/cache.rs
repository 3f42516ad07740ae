//! Compiled images, kept from one load to the next.

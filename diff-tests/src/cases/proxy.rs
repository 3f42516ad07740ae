//! A caching reverse proxy: how often it takes a connection, as a hand-written module counts it and as native eBPF does.
//!
//! With what it has in its cache the proxy answers by itself: one accept a connection of the client's. Without, each request is one
//! more connection, to the server behind it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Case;
use crate::compare::counters;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::nginx::{Nginx, ask};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("proxy::with_a_warm_cache_one_accept_a_connection", || {
        accepts(true, CONNECTIONS)
    }),
    ("proxy::without_a_cache_one_more_each_request", || {
        accepts(false, CONNECTIONS + CONNECTIONS * REQUESTS)
    }),
];

const CONNECTIONS: u64 = 10;
const REQUESTS: u64 = 5;
/// How long the last connection may take to be counted.
const PATIENCE: Duration = Duration::from_secs(20);

fn accepts(caches: bool, expected: u64) -> Result<()> {
    let nginx = Nginx::start(caches)?;
    // Fills the cache; and the connection that it was started with is over.
    ask(1, 1)?;
    let device = guest::device()?;
    let mut native = Native::load(corpus::object("accepts")?, "accepts", &["accept_entry"])?;
    let mut wasm = Wasm::load(&device, corpus::module("accept")?, "accept", &[])?;
    native.attach()?;
    wasm.attach()?;
    ask(CONNECTIONS, REQUESTS)?;
    let counted = || Ok::<_, anyhow::Error>(counters(&native.section(".bss")?)[0]);
    let end = Instant::now() + PATIENCE;
    while counted()? < expected && Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
    }
    wasm.detach();
    let (native, wasm) = (counted()?, wasm.report()?);
    ensure!(
        native == expected && wasm == native.to_string(),
        "expected {expected} accepts, native counted {native}, wasm {wasm}"
    );
    println!("{CONNECTIONS} connections of {REQUESTS} requests: {wasm} accepts, native {native}");
    drop(nginx);
    Ok(())
}

//! Functions that take structs by value: their words as native programs get them, in registers and on the stack.

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::chown;

use anyhow::{Result, ensure};

use super::Case;
use super::attach::{EVENTS, alone, equal, is_6_1};
use crate::guest;

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("attach_structs::in_registers_equal_native", || {
        let programs = &[
            ("chown_enter", "chowns", EVENTS),
            ("set_enter", "sets", EVENTS),
        ];
        equal("attach_structs", programs, options)
    }),
    ("attach_structs::on_the_stack_equal_native", || {
        let programs = &[("get_enter", "gets", EVENTS), ("get_exit", "got", EVENTS)];
        if is_6_1()? {
            return alone("attach_structs", programs, options);
        }
        equal("attach_structs", programs, options)
    }),
];

/// Gives a file to others, and sets and gets options of a socket, [`EVENTS`] times each.
fn options() -> Result<()> {
    let path = guest::scratch("options")?.join("file");
    fs::write(&path, "")?;
    let socket = TcpListener::bind("127.0.0.1:0")?;
    for i in 0..EVENTS as u32 {
        chown(&path, Some(1000 + i), Some(5000 + i))?;
        socket.set_ttl(1 + i % 255)?;
        let (mut value, mut length) = (0u32, size_of::<u32>() as libc::socklen_t);
        // SAFETY: the kernel writes at most `length` bytes to `value`.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_SNDBUF,
                (&raw mut value).cast(),
                &raw mut length,
            )
        };
        ensure!(result == 0, "getsockopt");
    }
    Ok(())
}

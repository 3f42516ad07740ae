//! TCP over loopback, IPv4 and IPv6: listen, connect, talk, close.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Bytes of a question, and of its answer.
const TALK: usize = 100;

/// Makes `count` connections of each family.
pub fn run(count: usize) -> io::Result<()> {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        thread::scope(|scope| {
            let server = scope.spawn(|| (0..count).try_for_each(|_| answer(&listener)));
            (0..count).try_for_each(|_| ask(TcpStream::connect(address)?))?;
            super::joined(server)
        })?;
    }
    Ok(())
}

fn answer(listener: &TcpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept()?;
    let mut bytes = [0; TALK];
    stream.read_exact(&mut bytes)?;
    stream.write_all(&bytes)
}

fn ask(mut stream: TcpStream) -> io::Result<()> {
    let mut bytes = [7; TALK];
    stream.write_all(&bytes)?;
    stream.read_exact(&mut bytes)
}

//! Debian's nginx as a caching reverse proxy before itself, and a client that asks it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::{corpus, guest};

/// Where the proxy listens, and where the server that it asks.
const PROXY: u16 = 8080;
const SERVER: u16 = 8081;
/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running nginx.
#[derive(Debug)]
pub struct Nginx(Child);

impl Nginx {
    /// Starts one that keeps answers, or one that asks the server again each time.
    pub fn start(caches: bool) -> Result<Self> {
        let directory = guest::scratch("nginx")?;
        for name in ["logs", "page"] {
            fs::create_dir(directory.join(name))?;
        }
        fs::write(directory.join("page/hello"), "hello\n")?;
        let settings = directory.join("nginx.conf");
        fs::write(&settings, configuration(&directory, caches))?;
        let program = corpus::unpacked("nginx").join("usr/sbin/nginx");
        let child = Command::new(&program)
            .arg("-p")
            .arg(&directory)
            .arg("-c")
            .arg(&settings)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("{} (cargo xtask setup)", program.display()))?;
        let mut nginx = Nginx(child);
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", PROXY)).is_err() {
            let ended = nginx.0.try_wait()?;
            ensure!(ended.is_none(), "nginx: {ended:?}");
            ensure!(Instant::now() < end, "nginx does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SAFETY: a signal to a child that nobody has waited for; it ends its worker with it.
        unsafe { libc::kill(self.0.id() as libc::pid_t, libc::SIGTERM) };
        // What it came to does not matter any more.
        let _ = self.0.wait();
    }
}

/// The proxy is not told to keep its connections to the server: each request that reaches that is one.
fn configuration(directory: &Path, caches: bool) -> String {
    let directory = directory.display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let files: String = kinds
        .map(|kind| format!("{kind}_temp_path {directory}/{kind};\n"))
        .concat();
    let cache = if caches {
        "proxy_cache kept; proxy_cache_valid 200 1h;"
    } else {
        ""
    };
    format!(
        "user root; worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/errors;
events {{ worker_connections 64; }}
http {{
access_log off;
{files}
proxy_cache_path {directory}/cache keys_zone=kept:1m;
server {{ listen 127.0.0.1:{SERVER}; root {directory}/page; }}
server {{ listen 127.0.0.1:{PROXY}; location / {{ proxy_pass http://127.0.0.1:{SERVER}; {cache} }} }}
}}
"
    )
}

/// Asks for a page `requests` times over each of `connections` connections, one after another.
pub fn ask(connections: u64, requests: u64) -> Result<()> {
    for _ in 0..connections {
        let mut stream = TcpStream::connect(("127.0.0.1", PROXY))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        for _ in 0..requests {
            stream.write_all(b"GET /hello HTTP/1.1\r\nHost: guest\r\n\r\n")?;
            answer(&mut answers)?;
        }
    }
    Ok(())
}

/// Reads an answer, which must be the page.
fn answer(stream: &mut impl BufRead) -> Result<()> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(stream.read_line(&mut head)? > 0, "nginx hung up: {head}");
    }
    ensure!(head.starts_with("HTTP/1.1 200 "), "nginx: {head}");
    let mut page = [0; 6];
    stream.read_exact(&mut page)?;
    ensure!(&page == b"hello\n", "nginx sent {page:?}");
    Ok(())
}

//! Which functions the instructions of one event are in, exactly: while the guest makes calls under a probe, QEMU writes down the
//! address of every instruction it executes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::progress::say;
use crate::vm::{self, Guest};

/// What every call begins with.
const CALL: &str = "entry_SYSCALL_64";
/// How much QEMU writes, which is some ten thousand instructions; and for how long at most.
const ENOUGH: u64 = 4 << 20;
const LONGEST: Duration = Duration::from_secs(20);
/// Functions that are told of one kind of probe.
const TOLD: usize = 24;

/// Boots `guest`, whose command is `guest-bench profile`.
pub(super) fn run(mut guest: Guest) -> Result<()> {
    let dir = vm::out_dir().join("bench");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    // The path of a socket is short.
    let socket = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
    guest.monitor = Some(socket.clone());
    let failed = Mutex::new(None);
    let outcome = guest.boot(&|line, is_err| {
        let told = if is_err {
            say("guest", line);
            Ok(())
        } else {
            tell(line, &socket, &dir)
        };
        if let Err(error) = told {
            *failed.lock().expect("nothing panics here") = Some(error);
        }
    })?;
    outcome.explain("bench");
    // Gone already, if QEMU ended well.
    let _ = fs::remove_file(&socket);
    if let Some(error) = failed.into_inner().expect("nothing panics here") {
        return Err(error);
    }
    if !outcome.is_good() {
        bail!("nothing was counted");
    }
    Ok(())
}

/// Looks at the guest, which has just said what it calls now, lets it go on, and prints what was seen.
fn tell(line: &str, socket: &Path, dir: &Path) -> Result<()> {
    let turn: Value = serde_json::from_str(line)?;
    let number = turn["turn"].as_u64().context("a turn has a number")?;
    let log = dir.join(format!("executed-{number}"));
    look(socket, &log)?;
    fs::write(dir.join(format!("seen-{number}")), "")?;
    let symbols = Symbols::read(&dir.join(format!("symbols-{number}")))?;
    let call = executed(&log, &symbols)?;
    fs::remove_file(&log)?;
    let text = |key: &str| turn[key].as_str().unwrap_or_default().to_owned();
    print!("{}", table(&text("name"), &text("runtime"), &call));
    Ok(())
}

/// Has QEMU write the addresses of all it executes for a while into `log`.
fn look(socket: &Path, log: &Path) -> Result<()> {
    let mut monitor = UnixStream::connect(socket).context("QEMU's monitor")?;
    let mut answers = BufReader::new(monitor.try_clone()?);
    let begin = format!(
        "logfile {}\nsinglestep on\nlog exec,nochain\n",
        log.display()
    );
    monitor.write_all(begin.as_bytes())?;
    let start = Instant::now();
    while start.elapsed() < LONGEST && fs::metadata(log).map_or(0, |file| file.len()) < ENOUGH {
        sleep(Duration::from_millis(10));
    }
    monitor.write_all(b"log none\nsinglestep off\ninfo name\n")?;
    // Its prompt stands before the echo of the last command, which it answers when the others are done.
    let mut line = String::new();
    while !line.contains("info name") {
        line.clear();
        if answers.read_line(&mut line)? == 0 {
            bail!("QEMU's monitor has gone");
        }
    }
    Ok(())
}

/// The kernel's functions by address.
pub(super) struct Symbols(BTreeMap<u64, String>);

impl Symbols {
    pub(super) fn read(path: &Path) -> Result<Self> {
        Ok(Self::parse(&fs::read_to_string(path)?))
    }

    pub(super) fn parse(text: &str) -> Self {
        let symbols = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let name = words.nth(1)?;
            Some((address, format!("{:#}", rustc_demangle::demangle(name))))
        });
        Self(symbols.collect())
    }

    /// The function at `address`, and whether that is where it begins.
    pub(super) fn at(&self, address: u64) -> (&str, bool) {
        match self.0.range(..=address).next_back() {
            _ if address >> 63 == 0 => ("user space", false),
            Some((start, name)) => (name, *start == address),
            None => ("?", false),
        }
    }
}

/// The calls that were written down whole: of the commonest length, instructions by function.
fn executed(log: &Path, symbols: &Symbols) -> Result<BTreeMap<String, u64>> {
    let mut calls: Vec<BTreeMap<String, u64>> = Vec::new();
    for line in BufReader::new(fs::File::open(log)?).lines() {
        let line = line?;
        // Trace 0: 0x7f… [cs base/address/flags/flags] symbol
        let Some(address) = line.split('/').nth(1) else {
            continue;
        };
        let Ok(address) = u64::from_str_radix(address, 16) else {
            continue;
        };
        let (name, begins) = symbols.at(address);
        if begins && name == CALL {
            calls.push(BTreeMap::new());
        }
        if let Some(call) = calls.last_mut() {
            *call.entry(name.to_owned()).or_default() += 1;
        }
    }
    calls.pop();
    let mut lengths: BTreeMap<u64, usize> = BTreeMap::new();
    for call in &calls {
        *lengths.entry(call.values().sum()).or_default() += 1;
    }
    let common = lengths.iter().max_by_key(|(_, count)| **count);
    let (length, _) = common.context("no call was seen")?;
    calls
        .into_iter()
        .find(|call| call.values().sum::<u64>() == *length)
        .context("no call was seen")
}

fn table(name: &str, runtime: &str, call: &BTreeMap<String, u64>) -> String {
    let mut rows: Vec<_> = call.iter().collect();
    rows.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let sum: u64 = call.values().sum();
    let mut text = format!("{name} {runtime}: {sum} instructions\n");
    for (function, count) in rows.iter().take(TOLD) {
        text += &format!("{count:>8}  {function}\n");
    }
    text
}

//! Guests: a stock Debian kernel under QEMU with this machine's file system, for one command.
//!
//! * The root file system is the host's, over 9p or virtiofs ([`share`]), read-only: whatever is built here runs there, at the same path.
//!   `/tmp` and `/run` are the guest's own; `/tmp/out` is the host's `target/vm/out`, writable.
//! * The kernel's console is the first serial port and goes to a file under `target/vm/logs/`; the command's
//!   stdout and stderr have virtio ports of their own. The two never mix.
//! * A defect in the console log fails the run, whatever the command returned ([`console`]).
//! * QEMU emulates (TCG) with one host thread: with several, this version (7.2) gets self-modifying code wrong, which
//!   is what kprobes are.

pub(crate) mod console;
mod initramfs;
mod share;

use std::fs;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use share::{Folder, Served, Way};

use crate::exec::{PROGRAMS, cargo_target, command, output, root};
use crate::kernels::Kernel;
use crate::progress::{Tone, say, seconds, step, tell};
use crate::{kmod, setup};

/// Console logs kept.
const LOGS: usize = 40;
/// Boots that are tried, if the kernel dies before its init: an emulated machine whose host is busy has timers that come late,
/// at which kernels panic ("IO-APIC + timer doesn't work").
const BOOTS: usize = 3;
/// A kernel that has not come to its init by then hangs.
const BOOTING: Duration = Duration::from_secs(5 * 60);

/// One boot.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    /// The kernel to boot.
    pub(crate) kernel: Kernel,
    /// Memory in MiB.
    pub(crate) memory: u32,
    /// Virtual CPUs.
    pub(crate) cpus: u32,
    /// Powered off after this long.
    pub(crate) timeout: Duration,
    /// The command's words; empty: a shell on this terminal.
    pub(crate) command: Vec<String>,
    /// Lines of a shell script that come before it.
    pub(crate) before: String,
    /// Its clock counts executed instructions, one a nanosecond, whatever else the machine does.
    pub(crate) counted: bool,
    /// Its CPUs run at the same time; no module is unloaded in it (`ARCHITECTURE.md`).
    pub(crate) parallel: bool,
    /// A socket for QEMU's monitor.
    pub(crate) monitor: Option<PathBuf>,
    /// A plugin of QEMU's, and its arguments.
    pub(crate) plugin: Option<String>,
}

/// How a boot ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The command's exit status; none if the guest ended before the command did.
    pub(crate) status: Option<u8>,
    /// Defects in the console log.
    pub(crate) defects: Vec<String>,
    /// The console log.
    pub(crate) log: PathBuf,
    /// How QEMU ended.
    end: End,
    /// From power-on to the command's start; none if the kernel did not come to its init.
    boot: Option<Duration>,
}

/// How QEMU ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By itself.
    Itself,
    /// The time was over.
    TimedOut,
    /// The kernel was long in coming to its init.
    Hung,
}

impl Outcome {
    /// From power-on to the command's start.
    pub(crate) fn boot(&self) -> Duration {
        self.boot.unwrap_or_default()
    }

    /// Why it is worth another try: what the kernel died of before its init.
    fn stillborn(&self) -> Option<String> {
        if self.boot.is_some() || self.end == End::TimedOut {
            return None;
        }
        let said = fs::read(&self.log).unwrap_or_default();
        match console::panic(&String::from_utf8_lossy(&said)) {
            Some(panic) => Some(panic.to_owned()),
            None => (self.end == End::Hung).then(|| format!("silence for {}", seconds(BOOTING))),
        }
    }

    /// Whether the command succeeded on a healthy kernel.
    pub(crate) fn is_good(&self) -> bool {
        self.status == Some(0) && self.defects.is_empty()
    }

    /// Says what went wrong, if anything did.
    pub(crate) fn explain(&self, area: &str) {
        for defect in &self.defects {
            tell(
                Tone::Bad,
                area,
                format_args!("the kernel reports a defect:\n{defect}"),
            );
        }
        match self.status {
            Some(0) => {}
            Some(status) => tell(
                Tone::Bad,
                area,
                format_args!("the command failed: exit status {status}"),
            ),
            None if self.end == End::TimedOut => tell(Tone::Bad, area, "the time ran out"),
            None if self.boot.is_none() => {
                tell(Tone::Bad, area, "the kernel did not come to its init");
            }
            None => tell(Tone::Bad, area, "the guest ended before the command did"),
        }
        if !self.is_good() {
            tell(
                Tone::Bad,
                area,
                format_args!("console log: {}", self.log.display()),
            );
        }
    }
}

/// Takes the command's output line by line: the text and whether it is stderr.
pub(crate) type Sink<'a> = &'a (dyn Fn(&str, bool) + Sync);

/// What a guest may have from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum With {
    /// The kernel module loaded, and the commands in PATH.
    Wprobe,
}

impl With {
    /// Builds it; the lines of a script that put it in place.
    fn build(self, kernel: Kernel) -> Result<String> {
        match self {
            With::Wprobe => {
                let module = kmod::build(kernel)?;
                step("vm", "building the commands", || {
                    output(command(PROGRAMS).current_dir(root()))
                })?;
                let commands = cargo_target().join("debug");
                Ok(format!(
                    "insmod {} || exit 1\nexport PATH={}:\"$PATH\"\n",
                    quote(&module.to_string_lossy()),
                    quote(&commands.to_string_lossy()),
                ))
            }
        }
    }
}

/// The task itself.
pub(crate) fn run(mut guest: Guest, with: Option<With>) -> Result<ExitCode> {
    setup::ensure(&[guest.kernel])?;
    if let Some(with) = with {
        guest.before = with.build(guest.kernel)?;
    }
    let outcome = if guest.command.is_empty() {
        guest.shell()?
    } else {
        guest.boot(&|line, is_err| {
            // A reader that went away (`| head`) is no reason to stop the guest.
            let _ = if is_err {
                writeln!(stderr(), "{line}")
            } else {
                writeln!(stdout(), "{line}")
            };
        })?
    };
    outcome.explain("vm");
    let shown = outcome.log.strip_prefix(root()).unwrap_or(&outcome.log);
    say(
        "vm",
        format_args!(
            "booted in {}, console log {}",
            seconds(outcome.boot()),
            shown.display()
        ),
    );
    Ok(match outcome.status {
        Some(status) if outcome.defects.is_empty() => ExitCode::from(status),
        _ => ExitCode::FAILURE,
    })
}

impl Guest {
    /// A guest with the usual size for `command`.
    pub(crate) fn new(kernel: Kernel, command: Vec<String>) -> Self {
        Guest {
            kernel,
            memory: kernel.memory(),
            cpus: 2,
            timeout: Duration::from_secs(900),
            command,
            before: String::new(),
            counted: false,
            parallel: false,
            monitor: None,
            plugin: None,
        }
    }

    /// Boots, runs the command, hands its output to `sink`. A kernel that dies before its init is booted again.
    pub(crate) fn boot(&self, sink: Sink<'_>) -> Result<Outcome> {
        again(BOOTS, || self.boot_once(sink))
    }

    fn boot_once(&self, sink: Sink<'_>) -> Result<Outcome> {
        let run = Run::prepare(self)?;
        let (mut qemu, served) = self.qemu(&run)?;
        // Pipes of ours by name: a stdio chardev would close the port when stdin ends.
        for (nr, stream) in ["stdout", "stderr"].iter().enumerate() {
            qemu.args([
                "-chardev",
                &format!("file,id={stream},path=/dev/{stream},append=on"),
            ]);
            qemu.args([
                "-device",
                &format!("virtserialport,chardev={stream},nr={}", nr + 1),
            ]);
        }
        qemu.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = qemu
            .spawn()
            .context("cannot run qemu-system-x86_64 (cargo xtask setup)")?;
        let out = child.stdout.take().context("stdout is a pipe")?;
        let err = child.stderr.take().context("stderr is a pipe")?;
        let end = thread::scope(|scope| {
            scope.spawn(|| forward(out, |line| sink(line, false)));
            scope.spawn(|| forward(err, |line| sink(line, true)));
            wait(&mut child, self.timeout, self.booting(), || {
                run.has_booted()
            })
        })?;
        drop(served);
        run.outcome(start, end)
    }

    /// Boots with a shell on this terminal.
    fn shell(&self) -> Result<Outcome> {
        if !std::io::stdin().is_terminal() {
            bail!("a shell needs a terminal; give a command: cargo xtask vm -- COMMAND");
        }
        again(BOOTS, || self.shell_once())
    }

    fn shell_once(&self) -> Result<Outcome> {
        let run = Run::prepare(self)?;
        let (mut qemu, served) = self.qemu(&run)?;
        qemu.args(["-chardev", "stdio,id=console,signal=off"]);
        qemu.args(["-device", "virtconsole,chardev=console,nr=0"]);
        say("vm", "booting; leave the shell to power off");
        let start = Instant::now();
        let mut child = qemu
            .spawn()
            .context("cannot run qemu-system-x86_64 (cargo xtask setup)")?;
        let end = wait(&mut child, Duration::MAX, self.booting(), || {
            run.has_booted()
        })?;
        drop(served);
        run.outcome(start, end)
    }

    /// How long it may be in coming to its init.
    fn booting(&self) -> Duration {
        BOOTING * self.kernel.slowness()
    }

    /// QEMU, and what serves the guest's folders while it runs.
    fn qemu(&self, run: &Run) -> Result<(Command, Served)> {
        let way = match self.kernel.has_9p() {
            true => Way::NineP,
            false => Way::Virtiofs,
        };
        // The kernel would try at boot whether the timer ticks in time, which an emulated one does not while the machine is busy,
        // and panic.
        let append = format!(
            "console=ttyS0 loglevel=5 no_timer_check numa_balancing=disable panic=-1 oops=panic vm.run={} vm.kernel={} vm.modules={} vm.root={} vm.build={} vm.share={} vm.term={}",
            run.id,
            self.kernel.name(),
            self.kernel.dir().display(),
            root().display(),
            cargo_target().display(),
            way.name(),
            std::env::var("TERM").unwrap_or_else(|_| "dumb".into()),
        );
        // The guest ends with us, however we end.
        let mut qemu = command(["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"]);
        qemu.args([
            "-accel",
            match self.parallel {
                true => "tcg,thread=multi",
                false => "tcg,thread=single",
            },
            "-cpu",
            "max",
            "-no-reboot",
            "-nodefaults",
            "-display",
            "none",
        ])
        .args(["-device", "virtio-serial-pci"])
        .args(self.nodes(way))
        .arg("-serial")
        .arg(format!("file:{}", run.log.display()))
        .arg("-kernel")
        .arg(self.kernel.vmlinux())
        .arg("-initrd")
        .arg(initramfs::ensure(self.kernel)?)
        .args(["-append", &append]);
        if self.counted {
            qemu.args(["-icount", "shift=0"]);
        }
        if let Some(plugin) = &self.plugin {
            qemu.args(["-plugin", plugin]);
        }
        match &self.monitor {
            Some(socket) => qemu
                .arg("-monitor")
                .arg(format!("unix:{},server=on,wait=off", socket.display())),
            None => qemu.args(["-monitor", "none"]),
        };
        let out = out_dir();
        let folder = |tag, path, is_written| Folder {
            tag,
            path,
            is_written,
        };
        let folders = [
            folder("rootfs", Path::new("/"), false),
            folder("out", &out, true),
        ];
        let served = share::serve(way, &folders, &run.id, &mut qemu)?;
        Ok((qemu, served))
    }

    /// CPUs and memory: each CPU is a NUMA node, so that tools that look at these see more than one.
    fn nodes(&self, way: Way) -> Vec<String> {
        let each = self.memory / self.cpus;
        let mut words = vec![
            "-smp".to_owned(),
            format!("{0},sockets={0}", self.cpus),
            "-m".to_owned(),
            (each * self.cpus).to_string(),
        ];
        for node in 0..self.cpus {
            words.push("-object".to_owned());
            words.push(way.memory(&format!("node{node}"), each));
            words.push("-numa".to_owned());
            words.push(format!("node,nodeid={node},cpus={node},memdev=node{node}"));
        }
        words
    }
}

/// What runs modules in a guest, where a test does not say so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// Native code that the kernel module compiles.
    Jit,
    /// The interpreter.
    Wasmi,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Engine::Wasmi => "wasmi",
            Engine::Jit => "jit",
        }
    }
}

/// As [`with_module`], on that engine.
pub(crate) fn on_engine(engine: Engine, module: &Path, program: &Path) -> Vec<String> {
    let mut words = with_module(module, program);
    words.insert(1, format!("WPROBE_ENGINE={}", engine.name()));
    words
}

/// The words that run `program` in a guest with that kernel module at hand.
pub(crate) fn with_module(module: &Path, program: &Path) -> Vec<String> {
    vec![
        "env".into(),
        format!("WPROBE_KO={}", module.display()),
        program.display().to_string(),
    ]
}

/// The directory that guests see as `/tmp/out`.
pub(crate) fn out_dir() -> PathBuf {
    root().join("target/vm/out")
}

/// The files of one boot.
struct Run {
    id: String,
    dir: PathBuf,
    log: PathBuf,
}

impl Run {
    fn prepare(guest: &Guest) -> Result<Run> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = out_dir().join(".run").join(&id);
        fs::create_dir_all(&dir)?;
        let logs = root().join("target/vm/logs");
        fs::create_dir_all(&logs)?;
        forget_old(&logs)?;
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs();
        let log = logs.join(format!("{now}-{}-{id}.log", guest.kernel.name()));
        let here = std::env::current_dir()?;
        let mut script = format!("cd {}\n{}", quote(&here.to_string_lossy()), guest.before);
        if guest.command.is_empty() {
            fs::write(dir.join("interactive"), "")?;
            script += "exec bash -i\n";
        } else {
            let words: Vec<String> = guest.command.iter().map(|word| quote(word)).collect();
            script += &format!("exec {}\n", words.join(" "));
        }
        fs::write(dir.join("command"), script)?;
        Ok(Run { id, dir, log })
    }

    /// Whether init runs.
    fn has_booted(&self) -> bool {
        self.dir.join("booted").exists()
    }

    fn outcome(self, start: Instant, end: End) -> Result<Outcome> {
        let console = fs::read(&self.log).with_context(|| self.log.display().to_string())?;
        let status = fs::read_to_string(self.dir.join("status")).ok();
        let booted = fs::metadata(self.dir.join("booted"))
            .and_then(|file| file.modified())
            .ok();
        let began = SystemTime::now() - start.elapsed();
        fs::remove_dir_all(&self.dir)?;
        Ok(Outcome {
            status: status.and_then(|text| text.trim().parse().ok()),
            defects: console::defects(&String::from_utf8_lossy(&console)),
            boot: booted.map(|time| time.duration_since(began).unwrap_or_default()),
            log: self.log,
            end,
        })
    }
}

/// Boots, and as many times at most, if the kernel dies before its init.
fn again(times: usize, mut boot: impl FnMut() -> Result<Outcome>) -> Result<Outcome> {
    let mut outcome = boot()?;
    for _ in 1..times {
        let Some(why) = outcome.stillborn() else {
            break;
        };
        let log = outcome.log.display();
        say(
            "vm",
            format_args!(
                "the kernel died before its init: {why}; booting again (console log {log})"
            ),
        );
        outcome = boot()?;
    }
    Ok(outcome)
}

/// Waits for `child`, at most for `timeout`, and for `booting` if it has not booted by then; how it ended.
fn wait(
    child: &mut Child,
    timeout: Duration,
    booting: Duration,
    has_booted: impl Fn() -> bool,
) -> Result<End> {
    let start = Instant::now();
    let mut booted = false;
    let end = loop {
        if child.try_wait()?.is_some() {
            return Ok(End::Itself);
        }
        booted = booted || has_booted();
        let elapsed = start.elapsed();
        if elapsed >= timeout {
            break End::TimedOut;
        }
        if !booted && elapsed >= booting {
            break End::Hung;
        }
        thread::sleep(Duration::from_millis(20));
    };
    child.kill()?;
    child.wait()?;
    Ok(end)
}

fn forward(stream: impl Read, mut sink: impl FnMut(&str)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        sink(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
}

fn forget_old(logs: &Path) -> Result<()> {
    let mut names: Vec<PathBuf> = fs::read_dir(logs)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    names.sort();
    for old in names.iter().rev().skip(LOGS) {
        // Another task may have been quicker.
        let _ = fs::remove_file(old);
    }
    Ok(())
}

/// `word` as one word of a POSIX shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), "'it'\\''s'");
    }
}

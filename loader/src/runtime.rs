//! Which runtime an object runs on, and why.

use std::fmt;

use anyhow::{Context, Result, bail};

use crate::attach::Choice;
use crate::device::Device;
use crate::doctor::{self, Facts};
use crate::load::Options;
use crate::open::Input;
use crate::session::Session;
use crate::session::native::Native;
use crate::session::wasm::Wasm;

/// What runs an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// Native eBPF where it works, else the kernel module.
    #[default]
    Auto,
    /// The kernel module, `/dev/wprobe`.
    KernelWasm,
    /// The kernel's own eBPF.
    Native,
    /// This process.
    User,
}

impl Runtime {
    /// Every one, and what people call it.
    pub const NAMES: &[(&str, Runtime)] = &[
        ("auto", Runtime::Auto),
        ("kernel-wasm", Runtime::KernelWasm),
        ("native", Runtime::Native),
        ("user", Runtime::User),
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        let row = Runtime::NAMES.iter().find(|(_, runtime)| *runtime == self);
        row.map_or("", |(name, _)| name)
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An object that runs.
pub struct Started {
    /// Its data.
    pub session: Box<dyn Session>,
    /// On what it runs: never [`Runtime::Auto`].
    pub runtime: Runtime,
    /// Why there.
    pub why: String,
}

/// How an object is to be run.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// On what.
    pub runtime: Runtime,
    /// Which programs, and where.
    pub choice: Choice,
    /// Values, sizes, limits.
    pub options: Options,
}

/// Loads and attaches `input`; what the maps `streams` send is kept from before the first program is attached on.
pub fn start(input: &Input, wish: &Wish, streams: &[String]) -> Result<Started> {
    let asked = |session| Started {
        session,
        runtime: wish.runtime,
        why: "asked for".to_owned(),
    };
    match wish.runtime {
        Runtime::Native => native(input, wish, streams).map(asked),
        Runtime::KernelWasm => wasm(input, wish, streams).map(asked),
        Runtime::User => bail!(
            "--runtime user: a process sees no events of the kernel; `wprobe prog run` runs a program in a process, on given input"
        ),
        Runtime::Auto => auto(input, wish, streams),
    }
}

fn auto(input: &Input, wish: &Wish, streams: &[String]) -> Result<Started> {
    let host = doctor::checks(&Facts::gather());
    let refusal = match doctor::no_native(&host) {
        Some(lack) => lack,
        None => match native(input, wish, streams) {
            Ok(session) => {
                return Ok(Started {
                    session,
                    runtime: Runtime::Native,
                    why: "the kernel's eBPF takes it".to_owned(),
                });
            }
            Err(refusal) => {
                let refusal = format!("{refusal:#}");
                if let Some(policy) = policy(&refusal) {
                    bail!(
                        "native eBPF refuses it, which is a matter of {policy}, not of ability, so no other runtime is tried (--runtime kernel-wasm does): {refusal}"
                    );
                }
                refusal
            }
        },
    };
    let session = wasm(input, wish, streams);
    let session = session.with_context(|| {
        format!(
            "not by native eBPF: {refusal}\nnor by the kernel module (`wprobe doctor` says more)"
        )
    })?;
    let first = refusal.lines().next().unwrap_or_default();
    Ok(Started {
        session,
        runtime: Runtime::KernelWasm,
        why: format!("not by native eBPF: {first}"),
    })
}

/// What native eBPF's refusal is a matter of, if somebody decided it: then another runtime is no way round it.
fn policy(refusal: &str) -> Option<&'static str> {
    let ended = |errno: i32| refusal.contains(&format!("(os error {errno})"));
    // The verifier says EACCES of programs that are wrong; attaching, it is about who may.
    let attaching = refusal.contains("native attach") && ended(libc::EACCES);
    match () {
        () if refusal.contains("non-GPL compatible program")
            || refusal.contains("GPL compatible license") =>
        {
            Some("its licence")
        }
        () if ended(libc::EPERM) || attaching => Some("permission or lockdown"),
        () if [
            libc::ENOKEY,
            libc::EKEYREJECTED,
            libc::EKEYEXPIRED,
            libc::EKEYREVOKED,
        ]
        .into_iter()
        .any(ended) =>
        {
            Some("its signature")
        }
        () => None,
    }
}

fn native(input: &Input, wish: &Wish, streams: &[String]) -> Result<Box<dyn Session>> {
    if input.object.is_none() {
        bail!("{}: a wasm module, without the BPF object", input.name);
    }
    let elsewhere = [
        ("--btf", wish.options.btf.is_some()),
        ("--values", wish.options.values.is_some()),
    ];
    if let Some((option, _)) = elsewhere.iter().find(|(_, is_given)| *is_given) {
        bail!("{option} is for wasm: the kernel's eBPF is for the running kernel");
    }
    let session = Native::open(input, &wish.choice, &wish.options.settings)?;
    attached(Box::new(session), streams)
}

fn wasm(input: &Input, wish: &Wish, streams: &[String]) -> Result<Box<dyn Session>> {
    let device = Device::open()?;
    let session = Wasm::open(&device, input.clone(), &wish.choice, &wish.options)?;
    attached(Box::new(session), streams)
}

fn attached(mut session: Box<dyn Session>, streams: &[String]) -> Result<Box<dyn Session>> {
    for map in streams {
        session.listen(map)?;
    }
    session.attach()?;
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_policy_are_told_from_those_of_ability() {
        let licence = "x: native load: the verifier says: cannot call GPL-restricted function from non-GPL compatible program: Invalid argument (os error 22)";
        assert_eq!(policy(licence), Some("its licence"));
        let locked = "x: native load: Operation not permitted (os error 1)";
        assert_eq!(policy(locked), Some("permission or lockdown"));
        let paranoid = "p: native attach: Permission denied (os error 13)";
        assert_eq!(policy(paranoid), Some("permission or lockdown"));
        let unsigned = "x: native load: Key was rejected by service (os error 129)";
        assert_eq!(policy(unsigned), Some("its signature"));
        for ability in [
            "x: native load: the verifier says: R1 min value is outside of the allowed memory range: Permission denied (os error 13)",
            "x: native load: Invalid argument (os error 22)",
            "x: native load: No such file or directory (os error 2)",
        ] {
            assert_eq!(policy(ability), None, "{ability}");
        }
    }
}

//! Instructions that not every kernel's verifier takes, or not for every type of program: those of the table, tried one by one.

use bpf2wasm::assemble;

use crate::generator::TC;
use crate::kernel::{Kind, Program, SYSCALL};

/// What may appear in programs.
#[derive(Default)]
pub(crate) struct Optional {
    /// `load_acquire*` and `store_release*`.
    pub(crate) ordered: Vec<String>,
    /// `ldabs*` and `ldind*`.
    pub(crate) packet: Vec<String>,
    pub(crate) may_goto: bool,
    /// Those that must not, and the verifier's last words on each.
    pub(crate) refused: Vec<(String, String)>,
}

impl Optional {
    /// Asks this machine's kernel.
    pub(crate) fn probe() -> Self {
        let mut optional = Optional::default();
        for instruction in bpf2wasm::instructions() {
            let name = instruction.mnemonic;
            let Some((kind, text)) = smallest(&name) else {
                continue;
            };
            let code = assemble(&text).expect("correct assembly");
            match Program::load_as(kind, &code, &[]) {
                Err(reason) => optional.refused.push((name, reason)),
                Ok(_) if name == "may_goto" => optional.may_goto = true,
                Ok(_) if kind == TC => optional.packet.push(name),
                Ok(_) => optional.ordered.push(name),
            }
        }
        optional
    }
}

/// The smallest program with an instruction that is optional.
fn smallest(name: &str) -> Option<(Kind, String)> {
    let (kind, line) = match name.trim_end_matches(char::is_alphanumeric) {
        _ if name == "may_goto" => (SYSCALL, format!("{name} +0")),
        "load_" => (SYSCALL, format!("{name} r0, [r10-8]")),
        "store_" => (SYSCALL, format!("{name} [r10-8], r0")),
        _ if name.starts_with("ldabs") => (TC, format!("{name} 0")),
        _ if name.starts_with("ldind") => (TC, format!("{name} r0, 0")),
        _ => return None,
    };
    let text = format!("mov r6, r1\nmov r0, 0\nstxdw [r10-8], r0\n{line}\nmov r0, 0\nexit\n");
    Some((kind, text))
}

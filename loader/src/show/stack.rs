//! Addresses of stacks as the functions they are in.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use blazesym::symbolize::source::{Kernel, Process, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};
use blazesym::{MaybeDefault, Pid};

use crate::frames::Functions;

/// Where the kernel's half of the address space begins.
const KERNEL: u64 = 1 << 63;

/// Names of functions, of the kernel and of processes; asked once for each address.
pub struct Symbols {
    symbolizer: Symbolizer,
    known: RefCell<HashMap<(u32, u64), String>>,
    /// The kernel's functions, if they can be read.
    functions: OnceCell<Option<Functions>>,
}

impl Default for Symbols {
    fn default() -> Self {
        let symbolizer = Symbolizer::builder().enable_code_info(false).build();
        Symbols {
            symbolizer,
            known: RefCell::default(),
            functions: OnceCell::new(),
        }
    }
}

impl Symbols {
    /// A stack without the frames that brought a runtime there.
    pub(super) fn own<'s>(&self, stack: &'s [u64]) -> &'s [u64] {
        if !stack.first().is_some_and(|frame| is_kernel(*frame)) {
            return stack;
        }
        let functions = self.functions.get_or_init(|| Functions::read().ok());
        let runtime = functions.as_ref().map_or(0, |f| f.surely_of_runtime(stack));
        &stack[runtime..]
    }

    /// `function+offset` of a frame; of process `pid`, if it is none of the kernel's. The address alone where nobody knows.
    pub fn name(&self, address: u64, pid: u32) -> String {
        let pid = if is_kernel(address) { 0 } else { pid };
        let mut known = self.known.borrow_mut();
        let name = known.entry((pid, address));
        name.or_insert_with(|| {
            self.ask(address, pid)
                .unwrap_or_else(|| format!("{address:#x}"))
        })
        .clone()
    }

    fn ask(&self, address: u64, pid: u32) -> Option<String> {
        let source = match pid {
            0 => Source::Kernel(Kernel {
                // Functions are named by kallsyms; lines are not asked for.
                vmlinux: MaybeDefault::None,
                ..Kernel::default()
            }),
            pid => Source::Process(Process::new(Pid::from(pid))),
        };
        let input = Input::AbsAddr(&[address][..]);
        match self.symbolizer.symbolize(&source, input).ok()?.first()? {
            Symbolized::Sym(sym) => Some(format!("{}+{:#x}", sym.name, sym.offset)),
            Symbolized::Unknown(_) => None,
        }
    }
}

/// Whether a frame is of the kernel's half.
pub(super) fn is_kernel(address: u64) -> bool {
    address >= KERNEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_this_process_is_found_and_what_is_nowhere_is_an_address() {
        let symbols = Symbols::default();
        let here = a_function_of_this_process_is_found_and_what_is_nowhere_is_an_address as fn();
        let name = symbols.name(here as usize as u64, std::process::id());
        assert!(name.contains("a_function_of_this_process"), "{name}");
        assert_eq!(symbols.name(0x10, std::process::id()), "0x10");
    }
}

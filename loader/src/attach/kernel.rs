//! What the running kernel says about the places programs attach to: its BTF, symbols and trace events.
//!
//! Each is read when it is first asked for. What cannot be read is an error where it is needed, and otherwise left to the
//! device to find out.

use std::cell::OnceCell;
use std::fs;
use std::iter;
use std::path::PathBuf;
use std::sync::Arc;

use bpf2wasm::btf::{Btf, Kind};

use crate::kallsyms::Functions;
use crate::module_btf::Modules;
use crate::values::KERNEL_BTF;

/// Arguments of a tracepoint or function, as `LinkCreate` has them.
pub(super) type Sizes = [u8; abi::uapi::LINK_ARGS];

/// The running kernel.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    modules: OnceCell<Result<(Arc<Btf>, Modules), String>>,
    functions: OnceCell<Option<Functions>>,
}

/// How often a kernel has a function of some name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    /// Once, or nobody can say.
    Fine,
    /// Never.
    Missing,
    /// So many times: which one is meant?
    Ambiguous(usize),
}

impl Kernel {
    /// Whether `name` means a function.
    pub(super) fn symbol(&self, name: &str) -> Symbol {
        let functions = self.functions.get_or_init(Functions::read);
        match functions.as_ref().map(|functions| functions.count(name)) {
            None | Some(1) => Symbol::Fine,
            Some(0) => Symbol::Missing,
            Some(count) => Symbol::Ambiguous(count),
        }
    }

    fn types(&self) -> Result<&(Arc<Btf>, Modules), String> {
        let parse = || {
            let bytes = fs::read(KERNEL_BTF).map_err(|e| format!("{KERNEL_BTF}: {e}"))?;
            let btf = Btf::parse(&bytes).map_err(|e| format!("{KERNEL_BTF}: {e}"))?;
            let btf = Arc::new(btf);
            Ok((Arc::clone(&btf), Modules::of(btf)))
        };
        let types = self.modules.get_or_init(parse);
        types.as_ref().map_err(String::clone)
    }

    /// Sizes of the arguments of tracepoint `name`.
    pub(super) fn tracepoint(&self, name: &str) -> Result<Sizes, String> {
        let wanted = format!("btf_trace_{name}");
        let found = self.search(&wanted, Kind::Typedef, |btf, ty| {
            let pointer = btf.resolve(ty.id)?.target()?;
            // The first is the probe's own.
            sizes(btf, btf.resolve(pointer)?.id, 1)
        })?;
        found.unwrap_or_else(|| Err(format!("the kernel has no tracepoint {name}")))
    }

    /// Sizes of the arguments of function `name`.
    pub(super) fn function(&self, name: &str) -> Result<Sizes, String> {
        let found = self.search(name, Kind::Func, |btf, ty| sizes(btf, ty.target()?, 0))?;
        found.unwrap_or_else(|| Err(format!("the kernel's BTF has no function {name}")))
    }

    /// What `read` makes of the type `name`, in the kernel's BTF or else in a module's.
    fn search<T>(
        &self,
        name: &str,
        kind: Kind,
        read: impl Fn(&Btf, &bpf2wasm::btf::Type<'_>) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let (kernel, modules) = self.types()?;
        let mut all = iter::once(&**kernel).chain(modules.mentioning(name));
        let found = all.find_map(|btf| Some((btf, btf.find(name, kind)?)));
        Ok(found.and_then(|(btf, ty)| read(btf, &ty)))
    }
}

/// Sizes of the parameters of prototype `id`, but for the first `skip`; an error for those that are not passed as words.
fn sizes(btf: &Btf, id: u32, skip: usize) -> Option<Result<Sizes, String>> {
    let prototype = btf.resolve(id).filter(|ty| ty.kind == Kind::FuncProto)?;
    let mut sizes = Sizes::default();
    let params = prototype.params().skip(skip);
    if params.len() > abi::uapi::FUNCTION_ARGS {
        return Some(Err(format!("it has {} arguments", params.len())));
    }
    for (at, param) in params.enumerate() {
        let word = btf
            .resolve(param.type_id)
            .filter(|ty| matches!(ty.kind, Kind::Ptr | Kind::Int | Kind::Enum | Kind::Enum64));
        let size = word.and_then(|ty| btf.size_of(ty.id));
        match size {
            Some(size @ 1..=8) => sizes[at] = size as u8,
            _ => {
                return Some(Err(format!(
                    "its argument {at} is no number and no pointer"
                )));
            }
        }
    }
    Some(Ok(sizes))
}

/// Where tracefs may be.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The `format` file of trace event `SYSTEM/NAME`.
pub(crate) fn event_format(event: &str) -> std::io::Result<String> {
    let path = |root: &str| {
        PathBuf::from(root)
            .join("events")
            .join(event)
            .join("format")
    };
    fs::read_to_string(path(TRACEFS[0]))
        .or_else(|e| fs::read_to_string(path(TRACEFS[1])).map_err(|_| e))
}

/// Bytes of an event's record up to the end of its last field, and whether data of no fixed size follow.
pub(super) fn record(format: &str) -> Option<(u32, bool)> {
    let fields = format
        .lines()
        .filter_map(|line| line.trim().strip_prefix("field:"));
    let mut end = None;
    let mut dynamic = false;
    for field in fields {
        dynamic |= field.starts_with("__data_loc") || field.starts_with("__rel_loc");
        let number = |key: &str| -> Option<u32> {
            let (_, rest) = field.split_once(key)?;
            rest.split(';').next()?.parse().ok()
        };
        end = end.max(Some(number("offset:")? + number("size:")?));
    }
    end.map(|end| (end, dynamic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_ends_with_its_last_field() {
        let exec = "format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;
\tfield:pid_t old_pid;\toffset:16;\tsize:4;\tsigned:1;
";
        assert_eq!(record(exec), Some((20, true)));
        assert_eq!(record(""), None);
    }
}

//! What the running kernel says about the places programs attach to: its BTF (or what is known of it, [`crate::answers`]), symbols and
//! trace events.
//!
//! Each is read when it is first asked for. What cannot be read is an error where it is needed, and otherwise left to the
//! device to find out.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use abi::uapi::{ARG_STACKED, FUNCTION_ARGS, LINK_ARGS};
use bpf2wasm::btf::{Btf, Kind};

use crate::answers::{Answer, Answers, Source};
use crate::kallsyms::Functions;
use crate::module_btf::Modules;
use crate::target_btf::bytes_of;
use crate::values::KERNEL_BTF;

/// Arguments of a tracepoint or function, as `LinkCreate` has them.
pub(crate) type Sizes = [u8; LINK_ARGS];

/// The kernel's types, and its modules' where they are at hand.
type Types = (Arc<Btf>, Option<Modules>);

/// The running kernel.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    /// Where its types are from.
    source: Source,
    types: OnceCell<Result<Types, String>>,
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
    /// With types from there.
    pub(crate) fn of(source: Source) -> Self {
        Kernel {
            source,
            ..Kernel::default()
        }
    }

    /// Whether `name` means a function.
    pub(super) fn symbol(&self, name: &str) -> Symbol {
        let functions = self.functions.get_or_init(Functions::read);
        match functions.as_ref().map(|functions| functions.count(name)) {
            None | Some(1) => Symbol::Fine,
            Some(0) => Symbol::Missing,
            Some(count) => Symbol::Ambiguous(count),
        }
    }

    fn types(&self) -> Result<&Types, String> {
        let path = match &self.source {
            Source::Btf(path) | Source::Debug(path, _) => path,
            Source::Running | Source::Answers(_) => Path::new(KERNEL_BTF),
        };
        let parse = || {
            let bytes = match &self.source {
                Source::Debug(_, bytes) => Cow::Borrowed(&**bytes),
                _ => Cow::Owned(bytes_of(path).map_err(|e| format!("{}: {e}", path.display()))?),
            };
            let btf = Btf::parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
            let btf = Arc::new(btf);
            // Modules are the running kernel's.
            let is_running = matches!(self.source, Source::Running);
            let modules = is_running.then(|| Modules::of(Arc::clone(&btf)));
            Ok((btf, modules))
        };
        let types = self.types.get_or_init(parse);
        types.as_ref().map_err(String::clone)
    }

    /// What the answers say, where there are no types, of `name` among those of its kind.
    fn answered(
        &self,
        of: fn(&Answers) -> &BTreeMap<String, Answer<Vec<u8>>>,
        name: &str,
    ) -> Option<Result<Sizes, String>> {
        let Source::Answers(answers) = &self.source else {
            return None;
        };
        let unknown =
            || format!("the values say nothing of {name}; make them anew (`wprobe values`)");
        Some(
            of(answers)
                .get(name)
                .ok_or_else(unknown)
                .and_then(|answer| {
                    let mut sizes = Sizes::default();
                    let answer = answer.as_ref().map_err(String::clone)?;
                    let room = sizes.get_mut(..answer.len()).ok_or_else(unknown)?;
                    room.copy_from_slice(answer);
                    Ok(sizes)
                }),
        )
    }

    /// Sizes of the arguments of tracepoint `name`.
    pub(crate) fn tracepoint(&self, name: &str) -> Result<Sizes, String> {
        if let Some(answered) = self.answered(|answers| &answers.tracepoints, name) {
            return answered;
        }
        let wanted = format!("btf_trace_{name}");
        let found = self.search(&wanted, Kind::Typedef, |btf, ty| {
            let pointer = btf.resolve(ty.id)?.target()?;
            // The first is the probe's own.
            sizes(btf, btf.resolve(pointer)?.id, 1, Passed::Alone)
        })?;
        found.unwrap_or_else(|| Err(format!("the kernel has no tracepoint {name}")))
    }

    /// Sizes of the arguments of function `name`.
    pub(crate) fn function(&self, name: &str) -> Result<Sizes, String> {
        if let Some(answered) = self.answered(|answers| &answers.functions, name) {
            return answered;
        }
        let found = self.search(name, Kind::Func, |btf, ty| {
            sizes(btf, ty.target()?, 0, Passed::InWords)
        })?;
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
        let modules = modules.iter().flat_map(|modules| modules.mentioning(name));
        let mut all = iter::once(&**kernel).chain(modules);
        let found = all.find_map(|btf| Some((btf, btf.find(name, kind)?)));
        Ok(found.and_then(|(btf, ty)| read(btf, &ty)))
    }
}

/// How arguments come to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    /// A tracepoint's: a word each.
    Alone,
    /// A function's, as x86-64 passes them: a struct of more than 8 bytes is two words, both in registers or both on the stack.
    /// Then what comes after it may still be in registers. Larger ones eBPF refuses, too (`btf_distill_func_proto`).
    InWords,
}

/// Words of arguments in registers.
const REGISTERS: usize = 6;

/// Sizes of the parameters of prototype `id`, but for the first `skip`, word for word; an error for those that no program gets.
fn sizes(btf: &Btf, id: u32, skip: usize, passed: Passed) -> Option<Result<Sizes, String>> {
    let prototype = btf.resolve(id).filter(|ty| ty.kind == Kind::FuncProto)?;
    let result = prototype.target().and_then(|id| btf.resolve(id));
    let result = result.filter(|ty| matches!(ty.kind, Kind::Struct | Kind::Union));
    // One of more than a word comes back in two registers, or where a hidden first argument says; native eBPF refuses any.
    if let Some(bytes @ 9..) = result.and_then(|ty| ty.size()) {
        return Some(Err(format!("it returns a struct of {bytes} bytes")));
    }
    let mut words = Vec::new();
    let mut in_registers = 0;
    for (at, param) in prototype.params().skip(skip).enumerate() {
        let size = match size(btf, param.type_id, at, passed) {
            Ok(size) => size,
            Err(why) => return Some(Err(why)),
        };
        let count = size.div_ceil(8);
        let fits = in_registers + count <= REGISTERS;
        in_registers += if fits { count } else { 0 };
        // A word that is on the stack because registers are used up needs no mark.
        let is_marked = passed == Passed::InWords && !fits && in_registers < REGISTERS;
        let mark = if is_marked { ARG_STACKED } else { 0 };
        let parts = (0..count).map(|word| (size - 8 * word).min(8) as u8 | mark);
        words.extend(parts);
    }
    let mut sizes = Sizes::default();
    if words.len() > FUNCTION_ARGS {
        return Some(Err(format!("its arguments are {} words", words.len())));
    }
    sizes[..words.len()].copy_from_slice(&words);
    Some(Ok(sizes))
}

/// Bytes of argument `at`, which is of type `id`.
fn size(btf: &Btf, id: u32, at: usize, passed: Passed) -> Result<usize, String> {
    use Kind::{Enum, Enum64, Int, Ptr, Struct, Union};
    let ty = btf.resolve(id);
    let is_value = |kind| matches!(kind, Ptr | Int | Enum | Enum64 | Struct | Union);
    let ty = ty.filter(|ty| is_value(ty.kind));
    let ty =
        ty.ok_or_else(|| format!("its argument {at} is no number, no pointer and no struct"))?;
    let most = match (passed, ty.kind) {
        (Passed::InWords, Struct | Union) => 16,
        _ => 8,
    };
    match btf.size_of(ty.id) {
        Some(size) if (1..=most).contains(&size) => Ok(size as usize),
        size => Err(format!(
            "its argument {at} has {} bytes, of which no program gets more than {most}",
            size.unwrap_or(0)
        )),
    }
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

/// Whether a field of an event's record says where data of no fixed size are.
pub(crate) fn is_dynamic(field: &str) -> bool {
    field.starts_with("__data_loc") || field.starts_with("__rel_loc")
}

/// Bytes of an event's record up to the end of its last field, and whether data of no fixed size follow; unless `data`, without
/// the fields that say where such are.
pub(super) fn record(format: &str, data: bool) -> Option<(u32, bool)> {
    let fields = format
        .lines()
        .filter_map(|line| line.trim().strip_prefix("field:"))
        .filter(|field| data || !is_dynamic(field));
    let mut end = None;
    let mut dynamic = false;
    for field in fields {
        dynamic |= is_dynamic(field);
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
    use crate::btf_builder::{Builder, UNION};

    #[test]
    fn a_record_ends_with_its_last_field() {
        let exec = "format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;
\tfield:pid_t old_pid;\toffset:16;\tsize:4;\tsigned:1;
";
        assert_eq!(record(exec, true), Some((20, true)));
        assert_eq!(record("", true), None);
        // Since 7.3 that of a system call has the texts of its arguments behind them.
        let open = "\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;
\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;
\tfield:__data_loc char[] __filename_val;\toffset:48;\tsize:4;\tsigned:0;";
        assert_eq!(record(open, true), Some((52, true)));
        assert_eq!(record(open, false), Some((48, false)));
    }

    #[test]
    fn arguments_are_words_as_the_calling_convention_has_them() {
        let mut b = Builder::default();
        let int = b.int("int", 4, true);
        let long = b.int("long", 8, true);
        let id = b.structure("kuid", 4, &[("val", int, 0)]);
        let pair = b.structure("pair", 16, &[("a", long, 0), ("b", int, 64)]);
        let twelve = b.structure(
            "twelve",
            12,
            &[("a", int, 0), ("b", int, 32), ("c", int, 64)],
        );
        let either = b.composite(UNION, "either", 8, &[("a", int, 0), ("b", long, 0)]);
        let large = b.structure("large", 24, &[("a", pair, 0), ("b", long, 128)]);
        let prototypes = [
            vec![long, id, id, either],
            vec![long, pair, twelve, int],
            // Five registers are taken, two words wanted: the stack; the sixth is for who comes next.
            vec![long, long, pair, long, pair, int, int, id],
            vec![long, large],
            vec![pair; 7],
        ];
        let prototypes = prototypes.map(|params| b.prototype(0, &params));
        let returns = [id, pair].map(|result| b.prototype(result, &[long]));
        let btf = b.build();
        let words = |at: usize, passed| {
            let sizes = sizes(&btf, prototypes[at], 0, passed).unwrap()?;
            let given = sizes.into_iter().take_while(|size| *size != 0);
            Ok::<_, String>(given.collect::<Vec<u8>>())
        };
        use Passed::{Alone, InWords};
        const S: u8 = ARG_STACKED;
        assert_eq!(words(0, InWords), Ok(vec![8, 4, 4, 8]));
        assert_eq!(words(0, Alone), Ok(vec![8, 4, 4, 8]));
        assert_eq!(words(1, InWords), Ok(vec![8, 8, 8, 8, 4, 4]));
        assert!(
            words(1, Alone)
                .unwrap_err()
                .contains("argument 1 has 16 bytes")
        );
        let mixed = vec![8, 8, 8, 8, 8, 8 | S, 8 | S, 4, 4, 4];
        assert_eq!(words(2, InWords), Ok(mixed));
        assert!(
            words(3, InWords)
                .unwrap_err()
                .contains("argument 1 has 24 bytes")
        );
        assert_eq!(words(4, InWords).unwrap_err(), "its arguments are 14 words");
        let [small, large] = returns.map(|id| sizes(&btf, id, 0, InWords).unwrap());
        assert!(small.is_ok() && large.unwrap_err() == "it returns a struct of 16 bytes");
    }
}

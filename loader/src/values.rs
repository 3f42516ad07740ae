//! Values of a module's imported globals, in import order.
//!
//! Maps' come from the device's answers, CO-RE's from the target's BTF, kconfig's and ksym's from the
//! running kernel. What a module never asks for is never read.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use abi::helpers::is_provided;
use abi::imports::{CORE, KSYM, MAP, MAP_APART, MAP_ENTRIES, MAP_VALUE, POISON, PROVIDED};
use abi::layout::map_handle;
use abi::manifest::{DataSection, Extern, ExternKind, Manifest, Symbol};
use bpf2wasm::btf::{Btf, BtfError, Kind, essential};

use crate::answers::{Answer, Answers, Source};
use crate::core_values;
use crate::kallsyms;
use crate::kconfig::Kconfig;
use crate::module_btf::Modules;
use crate::open::Input;
use crate::provided;
use crate::target_btf::TargetBtf;

/// The running kernel's BTF.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Why an import has no value.
#[derive(Debug)]
pub enum Error {
    /// The contract knows no such import, or the manifest does not describe it.
    Unknown(String),
    /// The target's BTF cannot be read.
    ReadBtf(PathBuf, io::Error),
    /// It cannot be parsed.
    ParseBtf(PathBuf, BtfError),
    /// The module has relocations and carries no BTF of its own.
    NoBtf,
    /// The kernel's configuration cannot be read.
    Kconfig(io::Error),
    /// A strong extern that the kernel does not have.
    Unresolved(String),
    /// `/proc/kallsyms` cannot be read.
    Kallsyms(io::Error),
    /// The kernel has several symbols of this name, and nothing says which is meant.
    Ambiguous(String, usize),
    /// The kernel has it, and does not say where.
    Hidden(String),
    /// Answers that are for the module do not answer it.
    Unanswered(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unknown(import) => {
                write!(f, "import {import}: the manifest does not describe it")
            }
            Error::ReadBtf(path, e) if *path == Path::new(KERNEL_BTF) => write!(
                f,
                "{}: {e} (needed for CO-RE; `wprobe doctor` says what to do)",
                path.display()
            ),
            Error::ReadBtf(path, e) => write!(f, "{}: {e} (needed for CO-RE)", path.display()),
            Error::ParseBtf(path, e) => write!(f, "{}: {e}", path.display()),
            Error::NoBtf => write!(f, "the module has CO-RE relocations but no BTF"),
            Error::Kconfig(e) => write!(
                f,
                "neither /proc/config.gz nor /boot/config-$(uname -r) can be read: {e}"
            ),
            Error::Unresolved(name) => write!(f, "extern {name}: this kernel has no such thing"),
            Error::Kallsyms(e) => write!(f, "/proc/kallsyms: {e}"),
            Error::Ambiguous(name, count) => {
                write!(f, "extern {name}: this kernel has {count} such symbols")
            }
            Error::Unanswered(name) => write!(
                f,
                "{name}: the values say nothing of it; make them anew (`wprobe values`)"
            ),
            Error::Hidden(name) => write!(
                f,
                "extern {name}: this kernel hides where it is (kernel.kptr_restrict)"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Values, and what a person may want to know about them.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// One for each imported value.
    pub globals: Vec<u64>,
    /// Relocations without a value, as `name: why`; they are poison.
    pub notes: Vec<String>,
}

/// A map that a runtime has made.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its name.
    pub name: String,
    /// Its handle.
    pub handle: u64,
    /// Guest pointer of element 0 where elements lie in order, else 0.
    pub values: u64,
    /// How many elements it has room for.
    pub entries: u32,
    /// Bytes from a CPU's elements to the next one's, where each has its own.
    pub apart: u64,
}

/// The value of each relocation of `input`, in the manifest's order, or why it has none.
pub(crate) fn relocated(input: &Input, source: &Source) -> Result<Vec<Answer<u64>>, Error> {
    let manifest = input.manifest.as_ref();
    manifest.map_or_else(
        || Ok(Vec::new()),
        |manifest| Kernel::new(input, manifest, source).relocated(),
    )
}

/// Whether the kernel's function that `external` is about, if there is one, is as the object declares it.
pub(crate) fn declared(input: &Input, source: &Source, external: &Extern) -> Result<bool, Error> {
    let manifest = input.manifest.as_ref().ok_or(Error::NoBtf)?;
    Kernel::new(input, manifest, source).fits(external, essential(&external.name))
}

/// Computes all of them; the kernel's types are at `source`.
pub fn compute(input: &Input, maps: &[Placed], source: &Source) -> Result<Values, Error> {
    let mut values = Values::default();
    let Some(manifest) = &input.manifest else {
        return Ok(values);
    };
    let kernel = Kernel::new(input, manifest, source);
    let relocations = kernel.relocations(&mut values.notes)?;
    for (module, name) in &input.interface.values {
        let map = || maps.iter().find(|m| m.name == *name);
        let data = || {
            manifest
                .maps
                .iter()
                .any(|m| m.name == *name && m.data.is_some())
        };
        let value = match module.as_str() {
            // A map that was not made; who uses it is not attached.
            MAP | MAP_VALUE | MAP_ENTRIES | MAP_APART if is_absent(manifest, maps, name) => {
                Some(if module == MAP {
                    map_handle(u32::MAX)
                } else {
                    0
                })
            }
            PROVIDED => {
                let function = name.split_once('.');
                function.map(|(module, name)| is_provided(module, name).into())
            }
            MAP if data() => map().map(|m| m.values),
            MAP => map().map(|m| m.handle),
            MAP_VALUE => map().map(|m| m.values),
            MAP_ENTRIES => map().map(|m| u64::from(m.entries)),
            MAP_APART => map().map(|m| m.apart),
            CORE => relocations.get(name.as_str()).copied(),
            KSYM => match manifest.externs.iter().find(|e| e.name == *name) {
                Some(external) => Some(kernel.address(external)?),
                None => None,
            },
            _ => None,
        };
        let value = value.ok_or_else(|| Error::Unknown(format!("{module}.{name}")))?;
        values.globals.push(value);
    }
    Ok(values)
}

/// Whether the object describes map `name`, and it was not made.
fn is_absent(manifest: &Manifest, maps: &[Placed], name: &str) -> bool {
    let is_described = manifest.maps.iter().any(|map| map.name == name);
    is_described && !maps.iter().any(|map| map.name == name)
}

/// Where a kernel function is that only the runtime has: no address that anything lies at.
const ELSEWHERE: u64 = 1;

/// What programs refer to in the target kernel.
struct Kernel<'i> {
    manifest: &'i Manifest,
    /// The object's own types.
    local: Option<Btf>,
    source: &'i Source,
    types: OnceCell<Arc<Btf>>,
}

impl<'i> Kernel<'i> {
    fn new(input: &Input, manifest: &'i Manifest, source: &'i Source) -> Self {
        Kernel {
            manifest,
            local: input.btf(),
            source,
            types: OnceCell::new(),
        }
    }

    /// The answers, where there are no types.
    fn answers(&self) -> Option<&Answers> {
        match self.source {
            Source::Answers(answers) => Some(answers),
            Source::Running | Source::Btf(_) | Source::Debug(..) => None,
        }
    }

    fn types(&self) -> Result<&Arc<Btf>, Error> {
        if let Some(types) = self.types.get() {
            return Ok(types);
        }
        let btf = match self.source {
            Source::Btf(path) => TargetBtf::read(Some(path), self.manifest),
            Source::Debug(path, btf) => TargetBtf::of(btf.to_vec(), path.clone(), self.manifest),
            Source::Running | Source::Answers(_) => TargetBtf::read(None, self.manifest),
        };
        let types = btf?.types()?;
        Ok(self.types.get_or_init(|| Arc::new(types)))
    }

    /// The value of each relocation by its import's name.
    fn relocations(&self, notes: &mut Vec<String>) -> Result<HashMap<&'i str, u64>, Error> {
        let values = self.relocated()?;
        let named = self.manifest.relocations.iter().zip(values);
        let named = named.map(|(relocation, value)| {
            let value = value.unwrap_or_else(|why| {
                notes.push(format!("{}: {why}", relocation.import));
                POISON as u64
            });
            (relocation.import.as_str(), value)
        });
        Ok(named.collect())
    }

    /// The same in order, or why there is none.
    fn relocated(&self) -> Result<Vec<Answer<u64>>, Error> {
        let relocations = &self.manifest.relocations;
        if relocations.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(answers) = self.answers() {
            return match answers.relocations.get(relocations.len() - 1) {
                Some(_) => Ok(answers.relocations.clone()),
                None => Err(Error::Unanswered(
                    relocations[answers.relocations.len()].import.clone(),
                )),
            };
        }
        let local = self.local.as_ref().ok_or(Error::NoBtf)?;
        let types = self.types()?;
        let modules = Modules::of(Arc::clone(types));
        let mut target = core_values::Target::new(types).on_wasm();
        // Modules are the running kernel's.
        match self.source {
            Source::Running => target = target.with_modules(&modules),
            Source::Debug(..) => target = target.without_ids(),
            Source::Btf(_) | Source::Answers(_) => {}
        }
        let values = core_values::evaluate(local, relocations, &target).into_iter();
        Ok(values
            .map(|value| value.map_err(|why| why.to_string()))
            .collect())
    }

    /// The address of an extern, 0 for a weak one that is not there.
    fn address(&self, external: &Extern) -> Result<u64, Error> {
        match external.kind {
            ExternKind::Kfunc => self.function(external),
            _ => {
                let typed = self
                    .local
                    .as_ref()
                    .and_then(|btf| btf.resolve(external.type_id));
                let typed = typed.is_some_and(|ty| ty.kind != Kind::Void);
                let found = kallsyms::addresses(&external.name).map_err(Error::Kallsyms)?;
                symbol(external, typed, &found)
            }
        }
    }

    /// Programs take a function's address to ask whether they may call it. The runtime answers, which has its own ones, also
    /// those that an old kernel lacks; of a prototype that this kernel's has not, there is none.
    fn function(&self, external: &Extern) -> Result<u64, Error> {
        let name = essential(&external.name);
        let has = provided::kfunc(name) && (!external.weak || self.fits(external, name)?);
        if !has && external.weak {
            return Ok(0);
        }
        let addresses = kallsyms::addresses(name).map_err(Error::Kallsyms)?;
        let address = addresses.into_iter().find(|address| *address != 0);
        let address = address.or_else(|| has.then_some(ELSEWHERE));
        Ok(resolved(external, address)?.unwrap_or(0))
    }

    /// Whether the kernel's function `name`, if it has one, is as the object declares it.
    fn fits(&self, external: &Extern, name: &str) -> Result<bool, Error> {
        if let Some(answers) = self.answers() {
            let declared = answers.declared.get(name).copied();
            return declared.ok_or_else(|| Error::Unanswered(name.to_owned()));
        }
        let kernel = self.types()?;
        let function = kernel.find(name, Kind::Func);
        let theirs = function.and_then(|function| function.target());
        Ok(match (&self.local, theirs) {
            (Some(local), Some(theirs)) => {
                core_values::compatible((local, external.type_id), (kernel, theirs))
            }
            _ => true,
        })
    }
}

/// The address of a variable of which symbols are at `found`. Of several the kernel itself takes the first where it knows a
/// type; without one, libbpf refuses to choose.
fn symbol(external: &Extern, typed: bool, found: &[u64]) -> Result<u64, Error> {
    let name = || external.name.clone();
    match *found {
        [_, _, ..] if !typed => Err(Error::Ambiguous(name(), found.len())),
        // A variable of each CPU may be the first of all; what has no type is none.
        [0] if !typed => Err(Error::Hidden(name())),
        _ => Ok(resolved(external, found.first().copied())?.unwrap_or(0)),
    }
}

/// The contents of the section of kconfig externs, `size` bytes.
pub fn kconfig_section(input: &Input, data: &DataSection, size: usize) -> Result<Vec<u8>, Error> {
    let externs = input.manifest.as_ref().map_or(&[][..], |m| &m.externs);
    let btf = input.btf();
    let is_char = |symbol: &Symbol| {
        let ty = btf.as_ref().and_then(|btf| btf.resolve(symbol.type_id));
        ty.is_some_and(|ty| ty.kind == Kind::Int && ty.size() == Some(1) && !ty.is_bool())
    };
    let kconfig = Kconfig::default();
    let mut section = vec![0; size];
    for symbol in &data.symbols {
        let described = externs
            .iter()
            .find(|e| e.kind == ExternKind::Kconfig && e.name == symbol.name);
        let external =
            described.ok_or_else(|| Error::Unknown(format!(".kconfig {}", symbol.name)))?;
        let setting = match kconfig.get(&symbol.name) {
            // Without a configuration a weak extern is as unset as any other.
            Err(_) if external.weak => None,
            setting => setting.map_err(Error::Kconfig)?,
        };
        let Some(setting) = resolved(external, setting)? else {
            continue;
        };
        let at = symbol.offset as usize;
        let place = section.get_mut(at..at.saturating_add(symbol.size as usize));
        let place = place.ok_or_else(|| Error::Unknown(format!(".kconfig {}", symbol.name)))?;
        place.copy_from_slice(&setting.bytes(place.len(), is_char(symbol)));
    }
    Ok(section)
}

/// `value`, unless `external` is strong and has none.
fn resolved<T>(external: &Extern, value: Option<T>) -> Result<Option<T>, Error> {
    match value {
        None if !external.weak => Err(Error::Unresolved(external.name.clone())),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(name: &str, weak: bool) -> Extern {
        Extern {
            name: name.into(),
            kind: ExternKind::Ksym,
            weak,
            type_id: 0,
        }
    }

    #[test]
    fn only_weak_externs_may_be_missing() {
        assert_eq!(resolved(&external("x", true), None::<u64>).unwrap(), None);
        let refusal = resolved(&external("x", false), None::<u64>).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "extern x: this kernel has no such thing"
        );
        let none = kallsyms::addresses("no_such_symbol_at_all").unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn a_symbol_s_address_is_known_or_refused() {
        let strong = external("x", false);
        let said = |typed, found: &[u64]| symbol(&strong, typed, found).map_err(|e| e.to_string());
        assert_eq!(said(true, &[8, 16]), Ok(8));
        assert_eq!(said(true, &[0]), Ok(0), "the first variable of a CPU");
        assert_eq!(said(false, &[8]), Ok(8));
        let ambiguous = said(false, &[8, 16]).unwrap_err();
        assert_eq!(ambiguous, "extern x: this kernel has 2 such symbols");
        assert!(said(false, &[0]).unwrap_err().contains("kptr_restrict"));
        assert_eq!(symbol(&external("x", true), true, &[]).unwrap(), 0);
    }
}

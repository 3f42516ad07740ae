//! Values of CO-RE relocations: a local access, found again in the target kernel's BTF.
//!
//! The rules are libbpf's (`relo_core.c`); `diff-tests` compares every value with what libbpf patches.
//! One step each: [`spec`] reads the access string against the object's own BTF, [`matching`] finds the same
//! access in a candidate type of the target, [`value`] computes the relocation's value from the two. What programs look for
//! before they use it, and what runs them need not have because the kernel does, the runtime answers ([`provided`]).
//!
//! # Invariants
//! A relocation without a match is [`POISON`], except where its absence is the answer (`*_exists`,
//! `*_matches`, `type_size`: 0). A load or store of a field that has another size here is [`abi::imports::resized`] where libbpf
//! would change the instruction, and poison where it would not.

mod compat;
mod matching;
mod spec;
mod type_match;
mod value;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use abi::imports::POISON;
use abi::manifest::CoreRelocation;
use bpf2wasm::btf::{Btf, Kind as TypeKind, Type, essential};

use crate::module_btf::Modules;
use crate::provided;
use spec::Spec;

/// `enum bpf_core_relo_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    FieldByteOffset,
    FieldByteSize,
    FieldExists,
    FieldSigned,
    FieldLshift,
    FieldRshift,
    TypeIdLocal,
    TypeIdTarget,
    TypeExists,
    TypeSize,
    EnumvalExists,
    EnumvalValue,
    TypeMatches,
}

impl Kind {
    /// In the kernel's order.
    const ALL: [Kind; 13] = [
        Kind::FieldByteOffset,
        Kind::FieldByteSize,
        Kind::FieldExists,
        Kind::FieldSigned,
        Kind::FieldLshift,
        Kind::FieldRshift,
        Kind::TypeIdLocal,
        Kind::TypeIdTarget,
        Kind::TypeExists,
        Kind::TypeSize,
        Kind::EnumvalExists,
        Kind::EnumvalValue,
        Kind::TypeMatches,
    ];

    /// Whether the access string is a path through members and elements.
    fn is_field(self) -> bool {
        (self as u32) <= Kind::FieldRshift as u32
    }

    /// Whether the access string is an enumerator's index.
    fn is_enumval(self) -> bool {
        matches!(self, Kind::EnumvalExists | Kind::EnumvalValue)
    }
}

/// Why a relocation has no value, not even poison by the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A kind the kernel does not have.
    Kind(u32),
    /// The access string does not fit the object's own BTF.
    Access(String),
    /// The root type has no name to look for.
    Anonymous,
    /// Types of the same name in the target disagree.
    Ambiguous(String),
    /// Types that refer to each other without end, or to types that are not there.
    Broken,
    /// A bit-field no single load can read.
    WideBitfield,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Kind(kind) => write!(f, "unknown kind {kind}"),
            Error::Access(access) => write!(f, "access string `{access}` does not fit the type"),
            Error::Anonymous => write!(f, "the root type has no name"),
            Error::Ambiguous(name) => write!(f, "types named {name} of the target disagree"),
            Error::Broken => write!(f, "broken BTF"),
            Error::WideBitfield => write!(f, "bit-field wider than one load"),
        }
    }
}

impl std::error::Error for Error {}

type Result<T> = std::result::Result<T, Error>;

/// A kernel's BTF, and what was found in it.
#[derive(Debug)]
pub struct Target<'a> {
    btf: &'a Btf,
    modules: Option<&'a Modules>,
    /// Whether programs run on the wasm runtime, which then says what it provides.
    asks_runtime: bool,
    /// Whether ids of types mean anything to that kernel.
    has_ids: bool,
    /// By name without flavour, of the names that were asked for: an index of all takes longer than an object takes to load.
    by_name: RefCell<HashMap<String, Vec<Candidate<'a>>>>,
}

/// A type of the kernel, or of one of its modules.
#[derive(Clone, Copy, Debug)]
struct Candidate<'a> {
    btf: &'a Btf,
    id: u32,
}

impl<'a> Target<'a> {
    /// To search in `btf` alone, as native eBPF does.
    pub fn new(btf: &'a Btf) -> Self {
        Target {
            btf,
            modules: None,
            asks_runtime: false,
            has_ids: true,
            by_name: RefCell::default(),
        }
    }

    /// With `modules`, for what `btf`, on which theirs is based, has no type of that name for.
    pub fn with_modules(self, modules: &'a Modules) -> Self {
        Target {
            modules: Some(modules),
            ..self
        }
    }

    /// Of a kernel that has no BTF itself: whatever asks for the id of a type is told that there is none.
    pub fn without_ids(self) -> Self {
        Target {
            has_ids: false,
            ..self
        }
    }

    /// For programs on the wasm runtime.
    pub fn on_wasm(self) -> Self {
        Target {
            asks_runtime: true,
            ..self
        }
    }

    /// Types that `local` may stand for.
    fn candidates(&self, local: &Type<'_>) -> Vec<Candidate<'a>> {
        let name = essential(local.name);
        let mut by_name = self.by_name.borrow_mut();
        let all = by_name
            .entry(name.to_owned())
            .or_insert_with(|| self.named(name));
        let fits = |candidate: &&Candidate<'_>| {
            let ty = candidate.btf.get(candidate.id);
            ty.is_some_and(|ty| compat::kinds(local.kind, ty.kind))
        };
        all.iter().filter(fits).copied().collect()
    }

    /// Every type of this name.
    fn named(&self, name: &str) -> Vec<Candidate<'a>> {
        let of = |btf: &'a Btf, types: &mut dyn Iterator<Item = Type<'a>>| -> Vec<_> {
            let same = types.filter(|ty| essential(ty.name) == name);
            same.map(|ty| Candidate { btf, id: ty.id }).collect()
        };
        let found = of(self.btf, &mut self.btf.types_beginning(name));
        match self.modules {
            Some(modules) if found.is_empty() => modules
                .mentioning(name)
                .flat_map(|module| of(module, &mut module.own_types_beginning(name)))
                .collect(),
            _ => found,
        }
    }

    /// What the runtime says to the question whether there is something, where it is one that it answers, and the kernel's BTF
    /// has the value `there`.
    fn answer(
        &self,
        kind: Kind,
        spec: &Spec<'_>,
        root: &Type<'_>,
        there: Option<u64>,
    ) -> Option<u64> {
        if !self.asks_runtime {
            return there;
        }
        let name = essential(root.name);
        let enumerator = spec.steps.first().and_then(|step| step.name).map(essential);
        match (kind, enumerator) {
            (Kind::EnumvalExists, Some(enumerator)) => {
                provided::enumerator(name, enumerator).map_or(there, |is| Some(u64::from(is)))
            }
            (Kind::EnumvalValue, Some(enumerator)) => {
                there.or_else(|| provided::number(name, enumerator))
            }
            (Kind::TypeExists, _) => match provided::ty(name) {
                Some(false) => Some(0),
                // Only a type itself stands for what it is of, no declaration.
                Some(true) if root.kind != TypeKind::Fwd && self.named(name).is_empty() => Some(1),
                _ => there,
            },
            (Kind::TypeMatches, _) if provided::ty(name) == Some(false) => Some(0),
            _ => there,
        }
    }
}

/// The values of `relocations` of an object with BTF `local`, on a kernel with BTF `target`; one each.
pub fn evaluate(
    local: &Btf,
    relocations: &[CoreRelocation],
    target: &Target<'_>,
) -> Vec<Result<u64>> {
    // As libbpf does, a relocation that tells candidates apart narrows them for later ones of its type.
    let mut candidates: HashMap<u32, Vec<Candidate<'_>>> = HashMap::new();
    let value = |r| evaluate_one(local, r, target, &mut candidates);
    relocations.iter().map(value).collect()
}

fn evaluate_one<'t>(
    local: &Btf,
    relocation: &CoreRelocation,
    target: &Target<'t>,
    candidates: &mut HashMap<u32, Vec<Candidate<'t>>>,
) -> Result<u64> {
    let kind = Kind::ALL.get(relocation.kind as usize).copied();
    let kind = kind.ok_or(Error::Kind(relocation.kind))?;
    let root = local.get(relocation.type_id).ok_or(Error::Broken)?;
    let spec = Spec::parse(local, kind, root.id, &relocation.access)?;
    if kind == Kind::TypeIdLocal {
        return Ok(u64::from(root.id));
    }
    if kind == Kind::TypeIdTarget && !target.has_ids {
        return Ok(0);
    }
    if root.name.is_empty() {
        return Err(Error::Anonymous);
    }
    let all = candidates
        .entry(root.id)
        .or_insert_with(|| target.candidates(&root));
    let mut matched = Vec::new();
    let mut found: Option<(u32, Option<u64>)> = None;
    for candidate in all.iter().copied() {
        let Some(there) = matching::find(&spec, candidate.btf, candidate.id)? else {
            continue;
        };
        let value = value::of(kind, &spec, Some(&there), relocation.access_bytes)?;
        match found {
            Some(first) if first != (there.bit_offset, value) => {
                return Err(Error::Ambiguous(root.name.to_owned()));
            }
            _ => found = Some((there.bit_offset, value)),
        }
        matched.push(candidate);
    }
    let value = match found {
        Some((_, value)) => {
            *all = matched;
            value
        }
        None => value::of(kind, &spec, None, relocation.access_bytes)?,
    };
    let value = target.answer(kind, &spec, &root, value);
    Ok(value.unwrap_or(POISON as u64))
}

/// Whether `local`'s type may stand for the kernel's, whole: what prototypes of functions must be.
pub(crate) fn compatible(local: (&Btf, u32), kernel: (&Btf, u32)) -> bool {
    compat::types(local, kernel, compat::MAX_DEPTH).unwrap_or(false)
}

#[cfg(test)]
mod tests;

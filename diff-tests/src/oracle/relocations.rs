//! What libbpf makes of CO-RE relocations, from what it says while it patches instructions.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;
use libbpf_rs::{ObjectBuilder, PrintLevel, set_print};

/// A relocation as libbpf names it: kind, root type in the object's BTF, access string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relocation {
    /// The number in `enum bpf_core_relo_kind`.
    pub kind: u32,
    /// The root type.
    pub type_id: u32,
    /// `0:1:2`; of types, `0`; of enumerators, the name.
    pub access: String,
    /// Whether it patches a load or store rather than a constant.
    pub load: bool,
}

/// What libbpf did with an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patch {
    /// Put this value in.
    Value(u64),
    /// Put this offset in, and made it a load or store of so many bytes.
    Resized(u32, u32),
    /// Made it invalid. Whether it was a load is not told: `Relocation::load` is false.
    Poison,
}

/// Names of `enum bpf_core_relo_kind`, as libbpf writes them.
const KINDS: [&str; 13] = [
    "byte_off",
    "byte_sz",
    "field_exists",
    "signed",
    "lshift_u64",
    "rshift_u64",
    "local_type_id",
    "target_type_id",
    "type_exists",
    "type_size",
    "enumval_exists",
    "enumval_value",
    "type_matches",
];

/// What libbpf said last; its callback can hold no state of its own.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Every relocation of `elf`, against the BTF in `file` or the running kernel's. Programs need not load: they are patched before.
pub fn of(elf: &[u8], file: Option<&Path>) -> Result<BTreeMap<Relocation, Patch>> {
    let old = set_print(Some((PrintLevel::Debug, |_, line| {
        SAID.lock().unwrap_or_else(|e| e.into_inner()).push(line);
    })));
    let result = load(elf, file);
    set_print(old);
    let said = std::mem::take(&mut *SAID.lock().unwrap_or_else(|e| e.into_inner()));
    result.map(|()| parse(said.iter().map(|line| line.trim_end())))
}

fn load(elf: &[u8], file: Option<&Path>) -> Result<()> {
    let mut builder = ObjectBuilder::default();
    builder.name("relocations")?;
    if let Some(file) = file {
        builder.btf_custom_path(file)?;
    }
    let mut open = builder.open_memory(elf)?;
    for mut program in open.progs_mut() {
        program.set_autoload(true);
    }
    for mut map in open.maps_mut() {
        map.set_autocreate(false)?;
    }
    // Refused sooner or later, without its maps: what it said until then is what counts.
    let _ = open.load();
    Ok(())
}

fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<Relocation, Patch> {
    let mut patches = BTreeMap::new();
    let mut current = None;
    for line in lines {
        let Some((_, said)) = line
            .split_once(": relo #")
            .and_then(|(_, rest)| rest.split_once(": "))
        else {
            continue;
        };
        if let Some(relocation) = relocation(said) {
            current = Some(relocation);
        } else if let (Some(relocation), Some(patch)) = (&current, patch(said)) {
            let load = said.contains("(LDX/ST/STX)");
            let relocation = Relocation {
                load,
                ..relocation.clone()
            };
            let before = patches.get(&relocation);
            let patch = match (patch, before, said.contains(" mem_sz ")) {
                // It says the offset first.
                (Patch::Value(bytes), Some(Patch::Value(offset)), true) => {
                    Patch::Resized(*offset as u32, bytes as u32)
                }
                // Another instruction with the same relocation.
                (Patch::Value(_), Some(Patch::Resized(..)), _) => continue,
                (patch, ..) => patch,
            };
            patches.insert(relocation, patch);
        }
    }
    patches
}

/// `<byte_off> [26] struct pt_regs.di (0:7 @ offset 56)`
fn relocation(said: &str) -> Option<Relocation> {
    let (kind, rest) = said.strip_prefix('<')?.split_once("> [")?;
    let kind = KINDS.iter().position(|k| *k == kind)? as u32;
    let (type_id, rest) = rest.split_once(']')?;
    let access = match (rest.rsplit_once(" ("), rest.rsplit_once("::")) {
        (Some((_, path)), _) => path.split([' ', ')']).next()?,
        (None, Some((_, enumerator))) => enumerator.split(' ').next()?,
        (None, None) => "0",
    };
    Some(Relocation {
        kind,
        type_id: type_id.parse().ok()?,
        access: access.to_owned(),
        load: false,
    })
}

/// `patched insn #1 (LDX/ST/STX) off 56 -> 56`, `substituting insn #1 w/ invalid insn`
fn patch(said: &str) -> Option<Patch> {
    if said.starts_with("substituting insn") {
        return Some(Patch::Poison);
    }
    let (_, value) = said.strip_prefix("patched insn")?.split_once(" -> ")?;
    value.parse().ok().map(Patch::Value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libbpfs_words_are_understood() {
        let said = [
            "prog 'p': relo #0: <byte_off> [26] struct pt_regs.di (0:7 @ offset 56)",
            "prog 'p': relo #0: matching candidate #0 <byte_off> [99] struct pt_regs.di (0:14 @ offset 112)",
            "prog 'p': relo #0: patched insn #1 (LDX/ST/STX) off 56 -> 112",
            "prog 'p': relo #1: <type_exists> [7] struct gone",
            "prog 'p': relo #1: patched insn #3 (ALU/ALU64) imm 1 -> 0",
            "prog 'p': relo #2: <byte_sz> [7] struct gone.x (0:0 @ offset 0)",
            "prog 'p': relo #2: substituting insn #4 w/ invalid insn",
            "prog 'p': relo #3: <enumval_value> [9] enum state::RUNNING = 1",
            "prog 'p': relo #3: patched insn #5 (LDIMM64) imm64 1 -> 2",
            "prog 'p': relo #4: <byte_off> [26] struct pt_regs.si (0:6 @ offset 48)",
            "prog 'p': relo #4: patched insn #7 (LDX/ST/STX) off 48 -> 104",
            "prog 'p': relo #4: patched insn #7 (LDX/ST/STX) mem_sz 4 -> 8",
        ];
        let patches = parse(said.into_iter());
        let key = |kind, type_id, access: &str, load| Relocation {
            kind,
            type_id,
            access: access.into(),
            load,
        };
        assert_eq!(patches.len(), 5);
        assert_eq!(patches[&key(0, 26, "0:6", true)], Patch::Resized(104, 8));
        assert_eq!(patches[&key(11, 9, "RUNNING", false)], Patch::Value(2));
        assert_eq!(patches[&key(0, 26, "0:7", true)], Patch::Value(112));
        assert_eq!(patches[&key(8, 7, "0", false)], Patch::Value(0));
        assert_eq!(patches[&key(1, 7, "0:0", false)], Patch::Poison);
    }
}

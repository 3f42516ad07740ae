//! `wprobe load`.

use std::path::PathBuf;

use abi::uapi::NAME_SIZE;
use anyhow::Result;
use loader::answers::Source;
use loader::device::Object;
use loader::load::{Engine, Options, load};
use loader::open::Input;
use loader::probe::find;
use loader::profile::Profile;
use loader::settings::Settings;
use loader::warnings;
use serde_json::json;

use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe load vfsstat.wasm
  wprobe load /usr/sbin/vfsstat --name files
  wprobe load /usr/sbin/opensnoop --set targ_uid=1000 --entries start=1024
  wprobe load /usr/sbin/vfsstat --engine wasmi
  wprobe load fork.wasm --fuel 100000 --trap-limit 10")]
pub(super) struct Args {
    /// A wasm module, a BPF object, or an executable that embeds one
    file: PathBuf,
    #[command(flatten)]
    how: How,
}

/// What `load` and `run` have in common.
#[derive(clap::Args)]
pub(super) struct How {
    /// What to call the module; by default the file's name
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// Which of several embedded objects, by name or index
    #[arg(long)]
    object: Option<String>,
    /// Execution budget of one run; by default the kernel module's
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    fuel: u64,
    /// Disable a program after so many traps; by default never
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    trap_limit: u32,
    /// What runs it; by default $WPROBE_ENGINE, or auto
    #[arg(long)]
    engine: Option<Engine>,
    #[command(flatten)]
    types: Types,
    /// Set a global variable: a number, true, an enumerator, text, or 1,2,3
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Set how many elements a map has room for
    #[arg(long, value_name = "MAP=N", value_parser = size)]
    entries: Vec<(String, u32)>,
}

/// Where the kernel's types are from.
#[derive(clap::Args)]
pub(super) struct Types {
    /// The kernel's BTF; by default the running kernel's own
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
    /// Where the kernel has no BTF, what was made of it elsewhere (`wprobe values`): a file, or a directory of such; by default
    /// what the module carries, and /usr/lib/wprobe/values
    #[arg(long, value_name = "VALUES", conflicts_with = "btf")]
    values: Option<PathBuf>,
}

impl Types {
    /// As the library wants it.
    pub(super) fn source(&self, input: &Input) -> Result<Source> {
        let (btf, values) = (self.btf.as_deref(), self.values.as_deref());
        Ok(Source::find(input, btf, values)?)
    }
}

/// A name that other verbs can tell from an id.
fn name(text: &str) -> Result<String, String> {
    match text {
        "" => Err("it is empty".to_owned()),
        _ if text.len() >= NAME_SIZE => Err(format!("longer than {} bytes", NAME_SIZE - 1)),
        _ if text.parse::<u32>().is_ok() => Err(format!("{text}: an id, and no name")),
        _ => Ok(text.to_owned()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn size(text: &str) -> Result<(String, u32), String> {
    let (name, value) = pair(text)?;
    let value = value.parse().map_err(|e| format!("{value}: {e}"))?;
    Ok((name, value))
}

impl How {
    fn settings(&self) -> Settings {
        Settings {
            globals: self.set.clone(),
            entries: self.entries.clone(),
        }
    }

    /// Opens `file`, and says how to load it.
    pub(super) fn open(&self, file: &std::path::Path) -> Result<(Input, Options)> {
        let mut input = Input::open(&find(file)?, self.object.as_deref())?;
        if let Some(name) = &self.name {
            input.name.clone_from(name);
        }
        let (fuel, trap_limit) = (self.fuel, self.trap_limit);
        let (btf, values) = (self.types.btf.clone(), self.types.values.clone());
        Ok((
            input,
            Options {
                fuel,
                trap_limit,
                spare: 0,
                btf,
                values,
                settings: self.settings(),
                engine: self.engine,
            },
        ))
    }
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let (input, mut options) = args.how.open(&args.file)?;
    let profile = Profile::of(&input);
    profile.preset(&mut options.settings);
    let loaded = load(&device()?, &input, &options)?;
    let notes: Vec<_> = loaded.notes.iter().chain(&profile.notes).collect();
    let info = loaded.module.info()?;
    let memory = loaded.sandbox.info()?.memory;
    loaded.module.pin()?;
    loaded.sandbox.pin()?;
    let mut text = format!(
        "loaded {} as module {}: {} programs, {} maps, {memory} bytes of memory\n",
        input.name,
        info.id,
        info.programs,
        loaded.maps.len()
    );
    let warnings = warnings::of(&input);
    for warning in &warnings {
        text += &format!("  warning: {warning}\n");
    }
    for note in &notes {
        text += &format!("  note: {note}\n");
    }
    let json = json!({
        "id": info.id,
        "sandbox": info.sandbox,
        "name": input.name,
        "programs": info.programs,
        "maps": loaded.maps.len(),
        "memory": memory,
        "notes": notes,
        "warnings": warnings,
    });
    Ok(Output { text, json })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names() {
        assert_eq!(name("files").unwrap(), "files");
        for wrong in ["", "7", &"x".repeat(NAME_SIZE)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}

//! `wprobe limits`.

use std::fs;

use abi::uapi::Resource;
use anyhow::{Context, Result};
use serde_json::{Map, json};

use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe limits
  wprobe limits max_fuel=100000 total_memory=64M
  wprobe limits --json

They are parameters of the kernel module: insmod takes them too. Lowering one takes nothing away.")]
pub(super) struct Args {
    /// Set a limit; K, M and G stand for powers of 1024
    #[arg(value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<(String, u64)>,
}

/// Where the kernel shows a module's parameters.
const PARAMETERS: &str = "/sys/module/wprobe/parameters";
/// Those that are no amount of a [`Resource`].
const OTHERS: &[&str] = &["max_module", "default_fuel", "max_fuel"];

fn setting(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("no `=` in it")?;
    let of_resources = Resource::ALL.iter().flat_map(|r| names(*r));
    let mut known: Vec<String> = of_resources.collect();
    known.extend(OTHERS.iter().map(|name| (*name).to_owned()));
    if !known.iter().any(|k| k == name) {
        return Err(format!("no limit {name}; there are {}", known.join(", ")));
    }
    Ok((name.to_owned(), number(value)?))
}

/// The parameters for a resource: of one sandbox, of all.
fn names(resource: Resource) -> Vec<String> {
    let scopes: &[_] = match resource {
        // A sandbox has one of.
        Resource::Sandboxes => &["total"],
        _ => &["max", "total"],
    };
    let name = |scope| format!("{scope}_{}", resource.name());
    scopes.iter().map(name).collect()
}

fn number(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        unit => return Err(format!("unknown unit {unit}")),
    };
    let number = digits.parse::<u64>().map_err(|e| e.to_string())?;
    number.checked_mul(1 << shift).ok_or("too large".to_owned())
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let device = device()?;
    for (name, value) in &args.set {
        let path = format!("{PARAMETERS}/{name}");
        fs::write(&path, value.to_string()).context(path)?;
    }
    let mut text = format!(
        "{:<12}{:>14}{:>14}{:>14}\n",
        "resource", "in use", "total", "a sandbox"
    );
    let mut json = Map::new();
    for resource in Resource::ALL {
        let limit = device.limit(*resource)?;
        let name = resource.name();
        text += &format!(
            "{name:<12}{:>14}{:>14}{:>14}\n",
            limit.used, limit.total, limit.each
        );
        let used = format!("used_{name}");
        json.insert(used, json!(limit.used));
        for parameter in names(*resource) {
            let value = match parameter.starts_with("max_") {
                true => limit.each,
                false => limit.total,
            };
            json.insert(parameter, json!(value));
        }
    }
    let about = device.about()?;
    text += &format!(
        "A module has at most {} bytes. A run has a budget of {}, or what its module asks for, at most {}.\n",
        about.max_module, about.default_fuel, about.max_fuel
    );
    let others = [about.max_module, about.default_fuel, about.max_fuel];
    for (name, value) in OTHERS.iter().zip(others) {
        json.insert((*name).to_owned(), json!(value));
    }
    Ok(Output {
        text,
        json: json.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked() {
        assert_eq!(setting("max_fuel=10").unwrap(), ("max_fuel".into(), 10));
        assert_eq!(
            setting("total_memory=3M").unwrap(),
            ("total_memory".into(), 3 << 20)
        );
        for wrong in [
            "max_fuel",
            "max_fuel=",
            "max_fuel=1MM",
            "max_fuel=-1",
            "max_fuel=99999999999G",
            "nosuch=1",
        ] {
            assert!(setting(wrong).is_err(), "{wrong}");
        }
    }
}

//! Debian's libbpf-tools: every object loads; which of them attach as they are, and why the others do not.

use std::path::Path;

use anyhow::{Result, ensure};
use loader::attach::{Choice, Plan};
use loader::load::{Options, load};
use loader::open::Input;

use super::Case;
use crate::guest;

/// The tests of this area.
pub const CASES: &[Case] = &[("tools::every_one_loads", every_one_loads)];

/// Tools whose programs have no place of their own: it is chosen when they are started.
const NO_PLACE: &[&str] = &[
    "bashreadline",
    "fsdist",
    "fsslower",
    "funclatency",
    "gethostlatency",
    "javagc",
    "ksnoop",
];

/// Tools that watch functions which some of the kernels here do not have.
const NOT_EVERYWHERE: &[&str] = &["mdflush", "numamove", "slabratetop"];

/// Programs that attach at least. The first has branches on the kernel's version.
const PROGRAMS: &[(&str, usize)] = &[
    ("biolatency", 3),
    ("execsnoop", 2),
    ("opensnoop", 4),
    ("vfsstat", 5),
];

fn every_one_loads() -> Result<()> {
    let device = guest::device()?;
    let mut wrong = Vec::new();
    let tools = guest::libbpf_tools()?;
    for (name, object) in &tools {
        let input = Input::from_bytes(object, name, Path::new(name), None)?;
        let loaded = match load(&device, &input, &Options::default()) {
            Ok(loaded) => loaded,
            Err(error) => {
                wrong.push(format!("{name} does not load: {error}"));
                continue;
            }
        };
        let links = Plan::new(&input, &Choice::default())
            .and_then(|mut plan| plan.attach(&loaded.module, &loaded.maps));
        match links {
            Ok(links) if NO_PLACE.contains(&name.as_str()) => {
                wrong.push(format!(
                    "{name} attaches {} programs to no place",
                    links.len()
                ));
            }
            Ok(links) => {
                println!("{name}: {} programs attached", links.len());
                let least = PROGRAMS.iter().find(|row| row.0 == name);
                if least.is_some_and(|row| links.len() < row.1) {
                    wrong.push(format!("{name} attaches {} programs only", links.len()));
                }
            }
            Err(error) => {
                println!("{name}: {}", error.to_string().replace('\n', "; "));
                if ![NO_PLACE, NOT_EVERYWHERE].concat().contains(&name.as_str()) {
                    wrong.push(format!("{name} does not attach: {error}"));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(tools.len() == 52, "{} tools", tools.len());
    Ok(())
}

//! `wprobe diff`, as people check an object of their own.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Case;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("diff::an_equal_object_is_status_0", equal),
    (
        "diff::a_difference_is_status_1_unless_a_rule_allows_it",
        differs,
    ),
    ("diff::a_failed_workload_is_told", failed),
    ("diff::nothing_compared_is_status_1", idle),
    ("diff::a_rule_about_nothing_is_status_1", misspelt),
];

fn diff(file: &Path, more: &[&str]) -> Result<Output> {
    let mut wprobe = Command::new(guest::wprobe()?);
    wprobe.arg("diff").arg(file).args(more).arg("--json");
    wprobe.output().context("wprobe")
}

fn json(output: &Output) -> Result<Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).with_context(|| said.into_owned())
}

fn equal() -> Result<()> {
    let path = guest::scratch("diff")?.join("syscalls.bpf.o");
    std::fs::write(&path, corpus::object("syscalls")?)?;
    let output = diff(
        &path,
        &["--workload", "for i in 1 2 3; do cat /etc/hosts; done"],
    )?;
    let result = json(&output)?;
    ensure!(
        output.status.success() && result["equal"] == true && result["verdict"] == "equal",
        "{result}"
    );
    ensure!(result["compared"]["runs"].as_u64() >= Some(6), "{result}");
    Ok(())
}

/// Files are made and removed, of which filelife tells how long they were there.
fn differs() -> Result<()> {
    let work = std::env::current_exe()?.with_file_name("guest-work");
    let files = format!("cd /tmp; {} files 300", work.display());
    let tool = Path::new("/usr/sbin/filelife");
    let output = diff(tool, &["--workload", &files])?;
    let result = json(&output)?;
    let differences = result["compared"]["differences"].to_string();
    ensure!(
        output.status.code() == Some(1) && differences.contains("delta_ns"),
        "{result}"
    );
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/filelife.toml");
    let output = diff(tool, &["--workload", &files, "--rules", rules])?;
    let result = json(&output)?;
    let verdict = result["verdict"].as_str().unwrap_or_default();
    ensure!(
        output.status.success() && verdict.starts_with("equal within"),
        "{result}"
    );
    ensure!(result["compared"]["events"].as_u64() >= Some(5), "{result}");
    Ok(())
}

/// Its programs are attached, and what they wait for does not happen.
fn idle() -> Result<()> {
    let output = diff(Path::new("/usr/sbin/oomkill"), &["--workload", "true"])?;
    let (result, said) = (json(&output)?, String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.code() == Some(1)
            && result["equal"] == false
            && result["verdict"] == "NOT EXERCISED"
            && said.contains("nothing was compared"),
        "{result} {said}"
    );
    Ok(())
}

/// Rules whose names are no field's: of a map, of a member, of a variable; alone, and beside one that is right.
fn misspelt() -> Result<()> {
    const WRONG: [&str; 4] = ["strat", "start.delta", ".bss.no_such", "start.key.pid.x"];
    let mut options = vec!["--workload", "true", "--differ", "start=1000000000"];
    options.extend(WRONG.iter().flat_map(|field| ["--differ", field]));
    let output = diff(Path::new("/usr/sbin/filelife"), &options)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1) && said.contains(&format!(": {} (maps", WRONG.join(", "))),
        "{said}"
    );
    Ok(())
}

fn failed() -> Result<()> {
    let output = diff(Path::new("/usr/sbin/vfsstat"), &["--workload", "exit 3"])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(1)
            && said.contains("workload exit 3: it failed with exit status 3"),
        "{said}"
    );
    Ok(())
}

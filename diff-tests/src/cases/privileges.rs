//! Who may open the device.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Result, ensure};
use loader::device::PATH;

use super::Case;
use crate::guest;

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("privileges::an_ordinary_user_is_refused", refused),
    ("privileges::bpf_and_perfmon_suffice", suffices),
    ("privileges::bpf_alone_does_not", bpf_alone),
];

/// `wprobe list` as nobody, with these capabilities and nothing else, on a device whose file mode lets anybody in.
fn list_as_nobody(capabilities: &str) -> Result<(bool, String)> {
    as_nobody(capabilities, &["list", "--json"])
}

/// `wprobe` with `args` as nobody, as [`list_as_nobody`] does.
pub(super) fn as_nobody(capabilities: &str, args: &[&str]) -> Result<(bool, String)> {
    fs::set_permissions(PATH, fs::Permissions::from_mode(0o666))?;
    let sets = format!("-all{capabilities}");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args([
            format!("--inh-caps={sets}"),
            format!("--ambient-caps={sets}"),
        ])
        .arg(format!("--bounding-set={sets}"))
        .arg(guest::wprobe()?)
        .args(args)
        .output()?;
    fs::set_permissions(PATH, fs::Permissions::from_mode(0o600))?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}

fn refused() -> Result<()> {
    let (success, error) = list_as_nobody("")?;
    ensure!(
        !success && error.contains("CAP_PERFMON"),
        "success {success}: {error}"
    );
    Ok(())
}

fn suffices() -> Result<()> {
    let (success, error) = list_as_nobody(",+bpf,+perfmon")?;
    ensure!(success, "refused: {error}");
    Ok(())
}

fn bpf_alone() -> Result<()> {
    let (success, error) = list_as_nobody(",+bpf")?;
    ensure!(
        !success && error.contains("CAP_PERFMON"),
        "success {success}: {error}"
    );
    Ok(())
}

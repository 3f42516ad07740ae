//! Where a program is attached.

use std::thread;

use abi::sections::{self, Attach};
use anyhow::{Context, Result, bail};
use libbpf_rs::{Link, ProgramMut, TracepointCategory, UprobeOpts};

use super::super::perf;
use super::usdt::Specifications;
use crate::attach::Choice;

/// The section that was chosen for `program` instead of its own.
pub(super) fn section_of<'c>(choice: &'c Choice, program: &str) -> Option<&'c str> {
    let chosen = choice.sections.iter().find(|(name, _)| name == program);
    chosen.map(|(_, section)| section.as_str())
}

/// Attaches `program` as if it were in `section`, or as its own section says. usdt programs with specifications of
/// their own are not attached by libbpf, which would write others.
pub(super) fn attach_at(
    program: &ProgramMut<'_>,
    section: Option<&str>,
    choice: &Choice,
    specifications: Option<&Specifications>,
) -> Result<Vec<Link>> {
    let own = program.section().to_string_lossy().into_owned();
    let own = own.trim_start_matches('?');
    let section = section.unwrap_or(own);
    let (row, target) = sections::find(section).with_context(|| format!("section {section}"))?;
    let target = target.unwrap_or_default();
    let pid = match choice.pid {
        0 => -1,
        pid => pid as i32,
    };
    let link = match row.attach {
        Attach::PerfEvent => return sample(program, choice),
        _ if section == own && row.attach != Attach::Usdt => program.attach()?,
        Attach::Kprobe => program.attach_kprobe(false, target)?,
        Attach::Kretprobe => program.attach_kprobe(true, target)?,
        Attach::Tracepoint => {
            let (category, name) = target.split_once('/').context("no CATEGORY/NAME")?;
            let category = TracepointCategory::Custom(category.to_owned());
            program.attach_tracepoint(category, name)?
        }
        Attach::RawTracepoint => program.attach_raw_tracepoint(target)?,
        // Their functions were set before they were loaded.
        Attach::TpBtf | Attach::Fentry | Attach::Fexit | Attach::FmodRet => program.attach()?,
        Attach::Uprobe | Attach::Uretprobe => {
            let (path, function) = target.rsplit_once(':').context("no PATH:SYMBOL")?;
            let options = UprobeOpts {
                retprobe: row.attach == Attach::Uretprobe,
                func_name: Some(function.to_owned()),
                ..UprobeOpts::default()
            };
            program.attach_uprobe_with_opts(pid, path, 0, options)?
        }
        Attach::Usdt => {
            let parts: Vec<_> = target.rsplitn(3, ':').collect();
            let [name, provider, path] = parts[..] else {
                bail!("{section}: no PATH:PROVIDER:NAME");
            };
            if let Some(specifications) = specifications {
                return specifications.attach(program, pid, (path, provider, name));
            }
            program.attach_usdt(pid, path, provider, name)?
        }
        other => bail!("{section}: {other:?} cannot be chosen natively"),
    };
    Ok(vec![link])
}

/// Attaches `program` to a perf event of every CPU.
fn sample(program: &ProgramMut<'_>, choice: &Choice) -> Result<Vec<Link>> {
    let cpus = thread::available_parallelism()?.get();
    let attach = |cpu| {
        let event = perf::open(cpu, choice.sampling).context("perf_event_open")?;
        Ok(program.attach_perf_event(event)?)
    };
    (0..cpus).map(attach).collect()
}

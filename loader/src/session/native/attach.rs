//! Where a program is attached.

use std::thread;

use abi::sections::{self, Attach};
use anyhow::{Context, Result, bail};
use libbpf_rs::{
    KprobeMultiOpts, KprobeOpts, Link, PerfEventOpts, ProgramMut, RawTracepointOpts,
    TracepointCategory, TracepointOpts, UprobeMultiOpts, UprobeOpts, UsdtOpts,
};

use super::super::perf;
use super::usdt::Specifications;
use crate::attach::{Choice, many};

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
    let name = program.name().to_string_lossy().into_owned();
    let of_many = matches!(
        row.attach,
        Attach::KprobeMulti | Attach::KretprobeMulti | Attach::UprobeMulti | Attach::UretprobeMulti
    );
    let is_marked = choice.is_marked(&name);
    if of_many && (is_marked || choice.pid != 0) {
        return Ok(vec![many(program, (row.attach, target), choice, pid)?]);
    }
    let cookies = match of_many {
        true => Vec::new(),
        false => choice
            .cookies_at(&[&name], &[place_of(target)])
            .map_err(anyhow::Error::msg)?,
    };
    let cookie = cookies.first().copied().unwrap_or(0);
    let of_process = matches!(
        row.attach,
        Attach::Uprobe | Attach::Uretprobe | Attach::Usdt
    );
    // What libbpf does by the section alone knows of neither.
    let is_told = cookie != 0 || choice.pid != 0 && of_process;
    let link = match row.attach {
        Attach::PerfEvent => return sample(program, choice, cookie),
        _ if section == own && row.attach != Attach::Usdt && !is_told => program.attach()?,
        Attach::Kprobe | Attach::Kretprobe => {
            let options = KprobeOpts {
                cookie,
                ..KprobeOpts::default()
            };
            program.attach_kprobe_with_opts(row.attach == Attach::Kretprobe, target, options)?
        }
        Attach::Tracepoint => {
            let (category, name) = target.split_once('/').context("no CATEGORY/NAME")?;
            let category = TracepointCategory::Custom(category.to_owned());
            let options = TracepointOpts {
                cookie,
                ..TracepointOpts::default()
            };
            program.attach_tracepoint_with_opts(category, name, options)?
        }
        Attach::RawTracepoint => {
            let options = RawTracepointOpts {
                cookie,
                ..RawTracepointOpts::default()
            };
            program.attach_raw_tracepoint_with_opts(target, options)?
        }
        // Their functions were set before they were loaded.
        Attach::TpBtf | Attach::Fentry | Attach::Fexit | Attach::FmodRet if cookie == 0 => {
            program.attach()?
        }
        Attach::Uprobe | Attach::Uretprobe => {
            let (path, place) = target.rsplit_once(':').context("no PATH:SYMBOL")?;
            let (function, offset) = split(place)?;
            let options = UprobeOpts {
                retprobe: row.attach == Attach::Uretprobe,
                func_name: function,
                cookie,
                ..UprobeOpts::default()
            };
            program.attach_uprobe_with_opts(pid, path, offset, options)?
        }
        Attach::Usdt => {
            let parts: Vec<_> = target.rsplitn(3, ':').collect();
            let [name, provider, path] = parts[..] else {
                bail!("{section}: no PATH:PROVIDER:NAME");
            };
            match specifications {
                Some(specifications) if cookie == 0 => {
                    return specifications.attach(program, pid, (path, provider, name));
                }
                // Its number is in the cookie's place.
                Some(_) => {
                    bail!("{section}: the object's own specifications have no room for a cookie")
                }
                None => {}
            }
            let options = UsdtOpts {
                cookie,
                ..UsdtOpts::default()
            };
            program.attach_usdt_with_opts(pid, path, provider, name, options)?
        }
        other if cookie != 0 => bail!("{section}: {other:?} has no cookie natively"),
        other => bail!("{section}: {other:?} cannot be chosen natively"),
    };
    Ok(vec![link])
}

/// The function that a cookie may be of.
fn place_of(target: &str) -> &str {
    target.split_once('+').map_or(target, |(symbol, _)| symbol)
}

/// Attaches `program` to all places of a pattern, each with its cookie.
fn many(
    program: &ProgramMut<'_>,
    (attach, target): (Attach, &str),
    choice: &Choice,
    pid: i32,
) -> Result<Link> {
    let returns = matches!(attach, Attach::KretprobeMulti | Attach::UretprobeMulti);
    let name = program.name().to_string_lossy().into_owned();
    let cookies = |functions: &[many::Function]| {
        let places: Vec<_> = functions.iter().map(|f| f.name.as_str()).collect();
        choice.cookies_at(&[&name], &places)
    };
    if matches!(attach, Attach::KprobeMulti | Attach::KretprobeMulti) {
        let (functions, _) = many::in_kernel(target).map_err(anyhow::Error::msg)?;
        let cookies = cookies(&functions).map_err(anyhow::Error::msg)?;
        let options = KprobeMultiOpts {
            symbols: functions.into_iter().map(|f| f.name).collect(),
            cookies,
            retprobe: returns,
            ..KprobeMultiOpts::default()
        };
        return Ok(program.attach_kprobe_multi_with_opts(options)?);
    }
    let (path, pattern) = target.rsplit_once(':').context("no PATH:PATTERN")?;
    let functions = many::in_file(path, pattern).map_err(anyhow::Error::msg)?;
    let cookies = cookies(&functions).map_err(anyhow::Error::msg)?;
    let offset = |f: &many::Function| f.at as usize;
    let options = UprobeMultiOpts {
        offsets: functions.iter().map(offset).collect(),
        cookies: cookies.clone(),
        retprobe: returns,
        ..UprobeMultiOpts::default()
    };
    Ok(program.attach_uprobe_multi_with_opts(pid, path, "", options)?)
}

/// `symbol`, `symbol+0x10`, or an offset in the file alone.
fn split(place: &str) -> Result<(Option<String>, usize)> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(hex) => usize::from_str_radix(hex, 16),
        None => text.parse(),
    };
    if let Ok(offset) = number(place) {
        return Ok((None, offset));
    }
    let (symbol, offset) = place.split_once('+').unwrap_or((place, "0"));
    let offset = number(offset).with_context(|| format!("{place}: bad offset"))?;
    Ok((Some(symbol.to_owned()), offset))
}

/// Attaches `program` to a perf event of every CPU.
fn sample(program: &ProgramMut<'_>, choice: &Choice, cookie: u64) -> Result<Vec<Link>> {
    let sampling = choice.sampling.unwrap_or_default();
    let cpus = thread::available_parallelism()?.get();
    let attach = |cpu| {
        let event = perf::open(cpu, sampling).context("perf_event_open")?;
        let options = PerfEventOpts {
            cookie,
            ..PerfEventOpts::default()
        };
        Ok(program.attach_perf_event_with_opts(event, options)?)
    };
    (0..cpus).map(attach).collect()
}

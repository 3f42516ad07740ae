//! `wprobe diff`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use loader::diff::{Pair, Plan, Rule, Stack, Verdict, Workload};
use loader::layout::Layout;
use loader::profile::Profile;
use serde::Deserialize;
use serde_json::json;

use super::activate::Which;
use super::load::How;
use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe diff my.bpf.o --workload ./my-workload.sh
  wprobe diff vfsstat --workload 'find /usr -name x'
  wprobe diff opensnoop --workload 'cat /etc/hosts' --set targ_tgid='$PID' --differ start.ts=1000000000
  wprobe diff my.bpf.o --workload ./my-workload.sh --rules my-rules.toml --json

The object is loaded twice, by libbpf as eBPF and by wprobe.ko as wasm, and both are attached to the same events.
When nothing happens that they see, both begin from one state; the workload runs; then every map, global variable and event
is compared, field by field. What may differ, such as times that are read one after the other, must be named:

  --differ FIELD          a field may differ: MAP.MEMBER, .bss.NAME, MAP.key.MEMBER; [] is any index
  --differ FIELD=N        its numbers may be N apart
  --rules FILE            the same in TOML: [[differ]] with field, within or part, and reason; [[stacks]] with field and map

A rule that is about no field of what is compared is an error. The exit status is 0 if programs ran under both and all they saw
is equal: \"equal\", or \"equal within N rules\" where so many rules were needed. It is 1 if something differs, or if no program ran.")]
pub(super) struct Args {
    /// A tool's name, a BPF object, or an executable that embeds one
    file: PathBuf,
    /// What happens meanwhile, for the shell; in --set, $PID is its process
    #[arg(long, value_name = "COMMAND")]
    workload: String,
    /// A field that may differ, or by how much (repeatable)
    #[arg(long, value_name = "FIELD[=N]", value_parser = rule)]
    differ: Vec<Rule>,
    /// What may differ, and where stacks are
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Types of events in C's notation, one struct a map, named as the map
    #[arg(long, value_name = "FILE")]
    layout: Option<PathBuf>,
    /// The struct in the object that events are
    #[arg(long, value_name = "STRUCT")]
    event: Option<String>,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    which: Which,
}

/// A file of rules. What else a test's case file says is none of ours.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Rules {
    differ: Vec<Rule>,
    stacks: Vec<Stack>,
}

fn rule(text: &str) -> Result<Rule, String> {
    let (field, within) = match text.split_once('=') {
        None => (text, None),
        Some((field, number)) => {
            let number = number.parse().map_err(|e| format!("{number}: {e}"))?;
            (field, Some(number))
        }
    };
    Ok(Rule {
        within,
        ..Rule::of(field, "--differ")
    })
}

pub(super) fn run(args: Args, json: bool) -> Result<Output> {
    let device = device()?;
    let mut work = Workload::shell(&args.workload)?;
    let (input, plan) = args.plan(work.pid())?;
    let rules = plan.rules.clone();
    let mut pair = Pair::attach(&device, &input, plan)?;
    let outcome = pair.watch(&mut work)?;
    let name = &input.name;
    let output = Output {
        text: format!("{name}: {outcome}"),
        json: json!({
            "name": name,
            "equal": outcome.equal(),
            "verdict": outcome.verdict().to_string(),
            "compared": outcome,
            "rules": rules,
        }),
    };
    let wrong = match (outcome.verdict(), outcome.findings.differences.len()) {
        (Verdict::Equal | Verdict::EqualWithin(_), _) => return Ok(output),
        (Verdict::NotExercised, _) => {
            "no program ran while the workload did: nothing was compared".to_owned()
        }
        (Verdict::Differs, 0) => "programs ran under one runtime only".to_owned(),
        (Verdict::Differs, count) => format!("{count} differences"),
    };
    output.print(json)?;
    bail!("{name}: {wrong}")
}

impl Args {
    fn plan(&self, pid: u32) -> Result<(loader::open::Input, Plan)> {
        let (input, mut options) = self.how.open(&self.file)?;
        let mut choice = self.which.choice().by_name(&input);
        let mut profile = Profile::of(&input);
        profile.notes.iter().for_each(|note| eprintln!("{note}"));
        profile.consider(&options.settings);
        profile.complete(&mut choice)?;
        profile.preset(&mut options.settings);
        for (_, value) in &mut options.settings.globals {
            *value = value.replace("$PID", &pid.to_string());
        }
        let mut rules: Rules = match &self.rules {
            None => Rules::default(),
            Some(path) => {
                let about = || path.display().to_string();
                toml::from_str(&fs::read_to_string(path).with_context(about)?)
                    .with_context(about)?
            }
        };
        rules.differ.extend(self.differ.iter().cloned());
        let layout = match &self.layout {
            None => None,
            Some(path) => {
                let about = || path.display().to_string();
                let text = fs::read_to_string(path).with_context(about)?;
                Some(Layout::parse(&text).with_context(about)?)
            }
        };
        let plan = Plan {
            choice,
            options,
            rules: rules.differ,
            stacks: rules.stacks,
            layout,
            event: self.event.clone(),
        };
        Ok((input, plan))
    }
}

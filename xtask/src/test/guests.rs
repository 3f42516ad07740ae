//! The guest tests: what is booted, and what is left out.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::Plan;
use super::report::Tally;
use crate::exec::cargo_target;
use crate::kernels::{self, Kernel};
use crate::kmod;
use crate::vm::{self, Engine, Guest};

/// How long a guest may take for its tests: on a busy machine thrice as long as on an idle one.
const PATIENCE: Duration = Duration::from_secs(40 * 60);

/// The names of the guest tests that compare Debian's tools.
const TOOLS: &str = "tools::";

/// A part of the guest tests, on a boot of its own.
struct Part {
    name: &'static str,
    /// In the words of libtest.
    tests: &'static [&'static str],
    /// If not none, only those of these names.
    only: &'static [&'static str],
}

/// Two halves, so that the work is even on two cores.
const PARTS: &[Part] = &[
    Part {
        name: "guest",
        tests: &["--skip", TOOLS],
        only: &[],
    },
    Part {
        name: "tools",
        tests: &[TOOLS],
        only: &[],
    },
];

/// What of the first is another kernel's business more than the commands': it is what is always tested on the older ones.
const KERNEL: Part = Part {
    name: "kernel",
    tests: &[
        "--skip",
        TOOLS,
        "--skip",
        "cli::",
        "--skip",
        "compared::",
        "--skip",
        "diff::",
        "--skip",
        "hostile::",
        "--skip",
        "inventory::",
        "--skip",
        "limits::",
        "--skip",
        "options::",
        "--skip",
        "run::",
        "--skip",
        "soak::",
        "--skip",
        "versions::",
        "--skip",
        "waiting::",
    ],
    only: &[],
};

/// What is always tested on the newest: what the shim does with each of the kernel's hooks.
const HOOKS: Part = Part {
    name: "hooks",
    tests: &["attach", "--skip", "attach_load::"],
    only: &[],
};

/// What is always tested on the oldest, whose own eBPF lacks what most tests of hooks are compared with: tools on system
/// calls, functions, tracepoints and sockets, and what of those tests it can do.
const FEW: Part = Part {
    name: "few",
    tests: &[],
    only: &[
        "attach::several_programs_of_one_place_equal_native",
        "attach::what_cannot_be_probed_is_refused_with_the_reason",
        "attach::the_device_checks_what_it_is_given",
        "attach_user::samples_are_as_native",
        "tools::filelife",
        "tools::opensnoop",
        "tools::slabratetop",
        "tools::statsnoop",
        "tools::tcpconnect",
        "tools::tcpstates",
        "tools::vfsstat",
    ],
};

/// What is always tested on the interpreter: what modules may try.
const HOSTILE: Part = Part {
    name: "hostile",
    tests: &["hostile::"],
    only: &[],
};

/// Whether this is tested in any case: on 6.12 all tests on compiled code.
fn is_always(kernel: Kernel, engine: Engine) -> bool {
    kernel == Kernel::V6_12 && engine == Engine::Jit
}

/// What is always tested besides: of the older kernel, and of modules that may try anything, a part on the interpreter; of others
/// hooks, on compiled code, for which the shim does more. Real-time and cloud kernels are left to `--all`.
fn besides() -> [Boot; 4] {
    [
        Boot::of(&KERNEL, Kernel::V6_1, Engine::Wasmi),
        Boot::of(&HOSTILE, Kernel::V6_12, Engine::Wasmi),
        Boot::of(&FEW, Kernel::OLDEST, Engine::Jit),
        Boot::of(&HOOKS, Kernel::NEWEST, Engine::Jit),
    ]
}

/// What one boot tests.
#[derive(Debug)]
pub(super) struct Boot {
    /// The phase's name.
    pub(super) name: String,
    kernel: Kernel,
    engine: Engine,
    /// Which tests, in the words of libtest.
    tests: Vec<String>,
    /// If not none, only those of these names.
    only: &'static [&'static str],
    /// Whether there must be some.
    expected: bool,
}

/// Boots.
pub(super) struct Boots {
    /// Those that are made.
    pub(super) run: Vec<Boot>,
    /// The names of those of the whole matrix that are not.
    pub(super) left_out: Vec<String>,
}

/// With a filter one boot a kernel. Else of the whole matrix what `plan` asks for: all of it, all on some kernels or one engine, or
/// what [`is_always`] tested. The whole matrix is all on the usual kernels, and a part on each other one.
pub(super) fn boots(plan: &Plan) -> Boots {
    let mut boots = Boots {
        run: Vec::new(),
        left_out: Vec::new(),
    };
    if let Some(filter) = &plan.filter {
        let kernels = kernels::or_usual(plan.kernels.clone());
        let boot = |kernel: Kernel| Boot {
            name: format!("guest-{}", kernel.name()),
            kernel,
            engine: plan.engine.unwrap_or(Engine::Jit),
            tests: vec![filter.clone()],
            only: &[],
            expected: false,
        };
        boots.run = kernels.into_iter().map(boot).collect();
        return boots;
    }
    let asks = plan.all || !plan.kernels.is_empty() || plan.engine.is_some();
    let asked = plan
        .kernels
        .iter()
        .copied()
        .filter(|kernel| kernel.is_made());
    // The newest first, which has most to do.
    for kernel in kernels::matrix().chain(asked).rev() {
        if !kernel.is_usual() && !plan.kernels.contains(&kernel) {
            let boot = Boot::of(&KERNEL, kernel, Engine::Jit);
            match plan.all {
                true => boots.run.push(boot),
                false => boots.left_out.push(boot.name),
            }
            continue;
        }
        for engine in [Engine::Jit, Engine::Wasmi] {
            for part in PARTS {
                let boot = Boot::of(part, kernel, engine);
                let is_asked = (plan.kernels.is_empty() || plan.kernels.contains(&kernel))
                    && plan.engine.is_none_or(|asked| asked == engine);
                match is_asked && (asks || is_always(kernel, engine)) {
                    true => boots.run.push(boot),
                    false => boots.left_out.push(boot.name),
                }
            }
        }
    }
    if !asks {
        boots.run.extend(besides());
    }
    boots
}

impl Boot {
    fn of(part: &Part, kernel: Kernel, engine: Engine) -> Self {
        Boot {
            name: format!("{}-{}-{}", part.name, kernel.name(), engine.name()),
            kernel,
            engine,
            tests: part.tests.iter().map(|&word| word.to_owned()).collect(),
            only: part.only,
            expected: true,
        }
    }

    /// Boots, and runs the tests, until `deadline` at most.
    pub(super) fn run(&self, log: &PathBuf, deadline: Option<Instant>) -> Result<Tally> {
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        ensure!(left != Some(Duration::ZERO), "not run: the time is over");
        let program = cargo_target().join("debug/guest-tests");
        let mut words = vm::on_engine(self.engine, &kmod::path(self.kernel), &program);
        if !self.only.is_empty() {
            words.insert(1, format!("GUEST_ONLY={}", self.only.join(",")));
        }
        words.extend(self.tests.iter().cloned());
        let file = Mutex::new(File::create(log)?);
        let last = Mutex::new(String::new());
        let start = Instant::now();
        let patience = PATIENCE * self.kernel.slowness();
        let guest = Guest {
            timeout: left.map_or(patience, |left| left.min(patience)),
            ..Guest::new(self.kernel, words)
        };
        let outcome = guest.boot(&|line, is_err| {
            // The log is a courtesy; losing a line of it is no test failure.
            let _ = writeln!(
                file.lock().expect("nothing panics here"),
                "{:7.1} {line}",
                start.elapsed().as_secs_f64()
            );
            if !is_err && line.contains(" passed") {
                line.clone_into(&mut last.lock().expect("nothing panics here"));
            }
        })?;
        outcome.explain(&self.name);
        let mut tally = Tally::parse(&last.into_inner().expect("nothing panics here"));
        // A sick kernel, or a runner that ended early, is a failure of its own.
        if tally.failed == 0 && !outcome.is_good() {
            tally.failed = 1;
        }
        if tally.passed + tally.failed == 0 && self.expected {
            bail!("no guest test ran");
        }
        Ok(tally)
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    fn plan(all: bool, kernels: &[Kernel], engine: Option<Engine>) -> Boots {
        boots(&Plan {
            quick: false,
            all,
            kernels: kernels.to_vec(),
            engine,
            filter: None,
        })
    }

    fn names(boots: &[Boot]) -> Vec<&str> {
        boots.iter().map(|boot| boot.name.as_str()).collect()
    }

    #[test]
    fn what_is_not_run_is_said() {
        let whole = plan(true, &[], None);
        assert_eq!((whole.run.len(), whole.left_out.len()), (30, 0));
        let usual = plan(false, &[], None);
        let run = [
            "guest-6.12-jit",
            "tools-6.12-jit",
            "kernel-6.1-wasmi",
            "hostile-6.12-wasmi",
            "few-5.10-jit",
            "hooks-backports-jit",
        ];
        assert_eq!(names(&usual.run), run);
        let mut all = names(&usual.run[..2]);
        all.extend(usual.left_out.iter().map(String::as_str));
        let mut expected = names(&whole.run);
        expected.extend(whole.left_out.iter().map(String::as_str));
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
    }

    #[test]
    fn what_is_asked_for_is_run_whole() {
        let one = plan(false, &[Kernel::V6_1], None);
        assert_eq!((one.run.len(), one.left_out.len()), (4, 26));
        let mut others = Kernel::value_variants().iter().filter(|k| !k.is_usual());
        let other = *others.next().unwrap();
        assert_eq!(plan(false, &[other], None).run.len(), 4);
        let wasmi = plan(false, &[], Some(Engine::Wasmi));
        assert!(wasmi.run.len() == 10 && wasmi.run.iter().all(|boot| boot.engine == Engine::Wasmi));
    }
}

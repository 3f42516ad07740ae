//! Every guest test, as a test binary: `--list`, filters and the rest are libtest's. With `$GUEST_ONLY` those of these names, each of
//! which there must be.

use std::env;
use std::process::ExitCode;

use diff_tests::{cases, guest};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Cases share one kernel and count what happens in it.
    arguments.test_threads = Some(1);
    if !arguments.list
        && let Err(error) = guest::check().and_then(|()| guest::insmod())
    {
        eprintln!("guest-tests: {error:#}");
        return ExitCode::FAILURE;
    }
    let trial = |(name, case): cases::Case| {
        // Whatever a case does, nothing stays behind.
        let run = move || case().and_then(|()| guest::check_clean());
        Trial::test(name, move || {
            run().map_err(|e| Failed::from(format!("{e:#}")))
        })
    };
    let mut trials: Vec<_> = cases::all().into_iter().map(trial).collect();
    // Before the last ones, which unload the module.
    let at = trials.len() - cases::LAST.len();
    trials.splice(at..at, cases::tools::trials());
    if let Ok(names) = env::var("GUEST_ONLY") {
        for name in names.split(',') {
            if !trials.iter().any(|trial| trial.name() == name) {
                eprintln!("guest-tests: no test is called {name}");
                return ExitCode::FAILURE;
            }
        }
        trials.retain(|trial| names.split(',').any(|name| trial.name() == name));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

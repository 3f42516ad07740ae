//! Which programs a plan attaches.

use abi::manifest::{Manifest, Program};
use abi::sections::Attach;

use super::*;
use crate::interface::Interface;

fn program(name: &str, attach: Attach, target: &str, autoload: bool) -> Program {
    Program {
        name: name.to_owned(),
        section: String::new(),
        export: format!("{attach:?}:{target}"),
        attach,
        target: Some(target.to_owned()),
        autoload,
        sleepable: false,
        context: Some(0),
        maps: vec![],
        lacks: vec![],
    }
}

fn plan(programs: Vec<Program>, chosen: &[&str]) -> Result<Plan, Error> {
    let choice = Choice {
        programs: chosen.iter().map(|c| (*c).to_owned()).collect(),
        ..Choice::default()
    };
    plan_of(programs, &choice)
}

fn plan_of(programs: Vec<Program>, choice: &Choice) -> Result<Plan, Error> {
    let manifest = Manifest {
        version: abi::manifest::VERSION,
        translator: String::new(),
        object: String::new(),
        license: String::new(),
        programs,
        refused: vec![],
        maps: vec![],
        relocations: vec![],
        externs: vec![],
        functions: vec![],
        stack: 0,
    };
    let input = Input {
        name: String::new(),
        wasm: vec![],
        manifest: Some(manifest),
        interface: Interface::default(),
        object: None,
        refusal: None,
    };
    Plan::new(&input, choice)
}

fn vfsstat() -> Vec<Program> {
    vec![
        program("kprobe_read", Attach::Kprobe, "vfs_read", true),
        program("lsm_read", Attach::Lsm, "vfs_read", true),
        program("optional", Attach::Kprobe, "vfs_open", false),
    ]
}

#[test]
fn of_two_program_types_the_supported_one_is_attached() {
    let plan = plan(vfsstat(), &[]).unwrap();
    let links: Vec<_> = plan.links().map(|l| l.target.as_str()).collect();
    assert_eq!(links, ["vfs_read"]);
    assert_eq!(
        plan.decisions[1].reason,
        "lsm is not supported by the kernel module"
    );
    assert_eq!(plan.decisions[2].reason, "not loaded by default");
}

#[test]
fn every_program_of_a_place_is_attached() {
    let programs = vec![
        program("a", Attach::Kprobe, "vfs_read", true),
        program("b", Attach::Kprobe, "vfs_read", true),
        program("c", Attach::Kretprobe, "vfs_read", true),
    ];
    assert_eq!(plan(programs, &[]).unwrap().links().count(), 3);
}

#[test]
fn sessions_that_cannot_be_are_refused_by_name() {
    let mut programs = vec![program("a", Attach::Kprobe, "vfs_read", true)];
    for (section, attach) in [
        ("?uprobe.session", Attach::UprobeSession),
        ("fsession", Attach::Fsession),
    ] {
        programs.push(Program {
            section: format!("{section}/vfs_*"),
            ..program(section, attach, "vfs_*", true)
        });
    }
    let plan = plan(programs, &[]).unwrap();
    for (decision, name) in plan.decisions[1..]
        .iter()
        .zip(["uprobe.session", "fsession"])
    {
        let said = format!("{name} is not supported by the kernel module: ");
        assert!(decision.reason.starts_with(&said), "{}", decision.reason);
    }
}

/// What it asks is translated for its own section.
#[test]
fn a_program_is_of_a_session_by_its_own_section() {
    for (attach, section, fits) in [
        (Attach::Kprobe, "kprobe.session/vfs_read", false),
        (Attach::KprobeSession, "kprobe/vfs_read", false),
        (Attach::Kprobe, "kretprobe/vfs_read", true),
    ] {
        let choice = Choice {
            sections: vec![("a".to_owned(), section.to_owned())],
            ..Choice::default()
        };
        let planned = plan_of(vec![program("a", attach, "vfs_read", true)], &choice);
        let said = planned.err().map(|error| error.to_string());
        let is_refused = said.as_ref().is_some_and(|s| s.contains("of a session"));
        assert_eq!(is_refused, !fits, "{section}: {said:?}");
    }
}

#[test]
fn of_alternatives_the_first_that_can_be_is_attached() {
    let attached = |chosen: &[&str], alternatives: &[&[&str]]| {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let choice = Choice {
            programs: names(chosen),
            alternatives: alternatives.iter().map(|list| names(list)).collect(),
            ..Choice::default()
        };
        let programs = vec![
            program("a", Attach::Kprobe, "vfs_read", true),
            program("b", Attach::Kprobe, "vfs_read", true),
            program("c", Attach::Kretprobe, "vfs_read", true),
            program("lsm", Attach::Lsm, "vfs_read", true),
        ];
        let plan = plan_of(programs, &choice).unwrap();
        let attached = plan.decisions.iter().filter(|d| d.attached);
        let places: Vec<_> = attached.map(|d| d.program.clone()).collect();
        places.len()
    };
    assert_eq!(attached(&[], &[]), 3);
    assert_eq!(attached(&[], &[&["a", "b"]]), 2);
    assert_eq!(attached(&[], &[&["lsm", "a", "b"]]), 2);
    assert_eq!(attached(&[], &[&["c", "a"], &["c", "b"]]), 1);
    assert_eq!(attached(&["a", "b"], &[&["a", "b"]]), 2);
}

#[test]
fn what_a_tool_attaches_by_default_goes_before_the_object_s_own() {
    let choice = Choice {
        usual: vec!["optional".to_owned()],
        ..Choice::default()
    };
    let plan = plan_of(vfsstat(), &choice).unwrap();
    let links: Vec<_> = plan.links().map(|l| l.target.as_str()).collect();
    assert_eq!(links, ["vfs_open"]);
}

#[test]
fn what_nobody_heeds_is_refused() {
    let of = |pid, sampling| {
        let programs = vec![program("a", Attach::Kprobe, "vfs_read", true)];
        let choice = Choice {
            pid,
            sampling,
            ..Choice::default()
        };
        plan_of(programs, &choice).map_err(|e| e.to_string())
    };
    assert!(of(0, None).is_ok());
    let refusal = |result: Result<Plan, String>| result.unwrap_err();
    assert!(refusal(of(7, None)).starts_with("--pid: nothing that is attached"));
    let sampling = Some(Sampling::default());
    assert!(refusal(of(0, sampling)).starts_with("--frequency: nothing that is attached"));
    let programs = vec![program("p", Attach::PerfEvent, "", true)];
    let choice = Choice {
        sampling,
        ..Choice::default()
    };
    assert!(plan_of(programs, &choice).is_ok());
}

#[test]
fn the_user_picks() {
    assert_eq!(
        plan(vfsstat(), &["optional"])
            .unwrap()
            .links()
            .next()
            .unwrap()
            .target,
        "vfs_open"
    );
    assert!(matches!(
        plan(vfsstat(), &["lsm_read"]),
        Err(Error::Cannot(..))
    ));
    assert!(matches!(
        plan(vfsstat(), &["nosuch"]),
        Err(Error::NoSuchProgram(..))
    ));
    assert!(matches!(plan(vec![], &[]), Err(Error::Nothing(_))));
}

#[test]
fn a_place_s_cookie_goes_before_its_program_s() {
    let cookies = [("p@vfs_read", 2), ("export", 1), ("other@vfs_open", 3)];
    let choice = Choice {
        cookies: cookies
            .map(|(name, cookie)| (name.to_owned(), cookie))
            .into(),
        ..Choice::default()
    };
    let at = |places: &[&str]| choice.cookies_at(&["p", "export"], places);
    assert_eq!(at(&["vfs_open", "vfs_read"]), Ok(vec![1, 2]));
    let why = "a cookie at vfs_read, which is none of its places";
    assert_eq!(at(&["vfs_open"]), Err(why.to_owned()));
    assert_eq!(choice.cookies_at(&["q"], &["vfs_open"]), Ok(vec![0]));
}

//! Programs of sessions: what they ask and what they give lies behind their context.

use abi::layout::{SESSION_COOKIE, SESSION_IS_RETURN, SESSION_RESULT, SESSION_SIZE};
use bpf2wasm::{Options, convert};

use crate::support::engine::Machine;

#[test]
fn a_program_finds_its_session_and_leaves_its_result() {
    let object = super::objects::compiled("sessions");
    let converted = convert(&object, "sessions", &Options::default()).expect("it converts");
    assert_eq!(converted.manifest.programs.len(), 1);
    // Nothing of it is the host's to do.
    let imports = &converted.summary.imports;
    let asks = imports.iter().any(|import| import.contains("session"));
    assert!(!asks, "{imports:?}");
    let mut machine = Machine::new(&converted, &[]);
    let mut run = |context: &[u8]| {
        let outcome = machine.run(context);
        outcome.result.expect("it comes to its end");
        outcome.context
    };
    let word = |context: &[u8], at: u32| {
        let bytes = context[at as usize..].first_chunk();
        u64::from_le_bytes(*bytes.expect("a word"))
    };
    let mut context = vec![0; SESSION_SIZE as usize];
    context[0] = 5;
    let mut context = run(&context);
    assert_eq!(word(&context, SESSION_COOKIE), 5);
    assert_eq!(word(&context, SESSION_RESULT), 9);
    context[SESSION_IS_RETURN as usize] = 1;
    let context = run(&context);
    assert_eq!(word(&context, SESSION_COOKIE), 5);
    assert_eq!(word(&context, SESSION_RESULT), 10);
    // The program of none may not ask.
    let refused = &converted.manifest.refused;
    assert_eq!((refused.len(), &refused[0].name[..]), (1, "none"));
    let why = "bpf_session_cookie___later is for programs of sessions";
    assert!(refused[0].why.contains(why), "{}", refused[0].why);
}

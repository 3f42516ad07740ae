//! What newer versions of tools send, under the tools' names: the layouts that are shipped for Debian's versions are not theirs.

use std::path::Path;

use diff_tests::corpus;
use loader::event_types::{self, Source, Stream, Word};
use loader::open::Input;
use loader::profile::Profile;

/// Tool, and members in their order. Of events whose size depends, the last one is as long as the code stores at a constant place.
const NEWER: &[(&str, &[&str])] = &[
    (
        "opensnoop",
        &[
            "ts", "uid", "pid", "flags", "ret", "comm", "callers", "fname",
        ],
    ),
    (
        "statsnoop",
        &["pid", "uid", "ts_ns", "ret", "pathname", "comm"],
    ),
    ("filelife", &["tgid", "tid", "delta_ns", "task", "file"]),
    (
        "exitsnoop",
        &[
            "pid",
            "tid",
            "exit_code",
            "sig",
            "comm",
            "start_time",
            "exit_time",
        ],
    ),
    (
        "execsnoop",
        &[
            "start",
            "retval",
            "pid",
            "uid",
            "args_count",
            "args_size",
            "comm",
            "args",
        ],
    ),
    (
        "biosnoop",
        &["ts", "delta", "len", "pid", "sector", "cmd_flags", "comm"],
    ),
];

fn only_stream(input: &Input) -> Stream {
    let streams = event_types::streams(input, &Profile::of(input), Word::default()).unwrap();
    let [stream] = &streams[..] else {
        panic!("{}: {} streams", input.name, streams.len());
    };
    stream.clone()
}

fn members(stream: &Stream) -> Vec<String> {
    let (btf, id) = stream.ty.as_ref().expect("a type");
    let ty = btf.get(*id).expect("it is there");
    let names = ty.members().map(|member| member.name.to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn types_of_newer_tools_are_from_their_objects() {
    for (tool, expected) in NEWER {
        let name = format!("{tool}_newer");
        for (object, source) in [
            (corpus::object(&name).unwrap(), Source::Debug),
            (corpus::stripped(&name).unwrap(), Source::Code),
        ] {
            let input = Input::from_bytes(object, tool, Path::new(tool), None).unwrap();
            let stream = only_stream(&input);
            assert_eq!(stream.source, source, "{tool}: {:?}", stream.notes);
            let text = stream.notation.as_deref().unwrap_or_default();
            assert_eq!(members(&stream), *expected, "{tool}: {text}");
            // A module says the same without its object.
            let module = Input::from_wasm(input.wasm.clone(), "other").unwrap();
            assert_eq!(only_stream(&module).notation, stream.notation, "{tool}");
        }
    }
}

#[test]
fn a_text_that_was_copied_is_a_text() {
    let object = corpus::stripped("biosnoop_newer").unwrap();
    let input = Input::from_bytes(object, "biosnoop", Path::new("x"), None).unwrap();
    let text = only_stream(&input).notation.unwrap();
    assert!(text.contains("char comm[16];"), "{text}");
}

#[test]
fn what_a_discarded_record_held_is_no_member_of_the_next() {
    let object = corpus::object("compared").unwrap();
    let input = Input::from_bytes(object, "compared", Path::new("x"), None).unwrap();
    let streams = event_types::streams(&input, &Profile::of(&input), Word::default()).unwrap();
    let stream = streams.iter().find(|stream| stream.map == "partial");
    let stream = stream.expect("the ring");
    let text = stream.notation.as_deref().unwrap_or_default();
    assert_eq!(members(stream), ["number", "part", "whole"], "{text}");
}

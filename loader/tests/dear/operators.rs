//! Operators over and over: those that take more than an instruction.

use super::{ENGINES, MOST, endless, instructions, plain};
use loader::user::EngineKind;

const FUEL: u64 = 400;

/// Functions that bodies here call.
fn functions() -> String {
    let locals = "i64 ".repeat(cost::MAX_LOCALS as usize);
    format!(
        r#"(type $t (func)) (table 1 funcref) (elem (i32.const 0) $nothing)
        (func $nothing) (func $many (local {locals}))
        (func $five (param i64 i64 i64 i64 i64) (result i64) (local.get 0))"#
    )
}

/// Operators of two numbers and of one, of both types.
fn arithmetic() -> Vec<String> {
    // Of those that are one instruction, one.
    const TWO: &str = "add rotr div_s rem_u ge_u";
    const ONE: &str = "clz ctz popcnt eqz";
    let mut bodies = Vec::new();
    for (ty, variable, other, one) in [("i32", "$i", "$j", "3"), ("i64", "$a", "$b", "3")] {
        for name in TWO.split(' ') {
            // Neither number is known, and no division is by zero.
            let by = match name.contains("div") || name.contains("rem") {
                true => format!("({ty}.or (local.get {other}) ({ty}.const {one}))"),
                false => format!("(local.get {other})"),
            };
            bodies.push(format!("(drop ({ty}.{name} (local.get {variable}) {by}))"));
        }
        for name in ONE.split(' ') {
            bodies.push(format!("(drop ({ty}.{name} (local.get {variable})))"));
        }
    }
    // So that nothing is left out as useless: the result goes into the next one.
    let used = bodies.into_iter().map(|body| {
        let inner = body.trim_start_matches("(drop ").to_owned();
        let inner = &inner[..inner.len() - 1];
        let is_flag = ["eq", "ne", "lt_", "gt_", "le_", "ge_"]
            .iter()
            .any(|flag| inner[5..].starts_with(flag));
        match (inner.starts_with("(i64"), is_flag) {
            (true, false) => format!("(local.set $a {inner})"),
            _ => format!("(local.set $i {inner})"),
        }
    });
    used.collect()
}

fn accesses() -> Vec<String> {
    let place = "(i32.and (local.get $i) (i32.const 0xffff))";
    let mut bodies = Vec::new();
    for load in
        "i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u i64.load"
            .split(' ')
    {
        bodies.push(format!("(local.set $a ({load} (local.get $i)))"));
        bodies.push(format!("(local.set $a ({load} offset=7 {place}))").replace("0xffff", "0xff"));
    }
    for store in "i64.store8 i64.store".split(' ') {
        bodies.push(format!("({store} (local.get $i) (local.get $a))"));
    }
    bodies
}

fn control() -> Vec<String> {
    let table = |targets: usize| {
        let targets = "0 1 ".repeat(targets / 2);
        format!(
            "(block (block (br_table {targets} 0 (local.tee $i (i32.add (local.get $i) (i32.const 7919))))))"
        )
    };
    let mut bodies: Vec<String> = [
        "(call $nothing)",
        "(call $many)",
        "(drop (call $five (local.get $a) (local.get $b) (local.get $a) (local.get $b) (local.get $a)))",
        "(block (br_if 0 (local.get $i)))",
        "(block (br_if 0 (i32.eqz (local.get $i))))",
        "(if (local.get $i) (then (local.set $a (local.get $b))) (else (local.set $b (local.get $a))))",
        "(local.set $a (select (local.get $a) (local.get $b) (local.get $i)))",
        "(loop (loop (loop (loop (loop (loop (loop (loop))))))))",
        "(loop $l (br_if $l (local.tee $i (i32.and (i32.add (local.get $i) (i32.const 1)) (i32.const 3)))))",
        "(block (block (block (block (br 3)))))",
        "nop (block) (drop (memory.size))",
    ]
    .map(str::to_owned)
    .into();
    bodies.extend([2, 16, 500].map(table));
    bodies
}

/// What only the interpreter takes.
fn of_wasmi() -> Vec<String> {
    [
        "(call_indirect (type $t) (i32.const 0))",
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 0))",
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 1024))",
        "(memory.copy (i32.const 1) (i32.const 0) (i32.const 1024))",
        "(table.set (i32.const 0) (table.get (i32.const 0)))",
    ]
    .map(str::to_owned)
    .into()
}

#[test]
fn no_operator_is_dear() {
    let mut dear = Vec::new();
    for engine in ENGINES {
        let plain = plain(engine, FUEL);
        let mut bodies = [arithmetic(), accesses(), control()].concat();
        if engine == EngineKind::Wasmi {
            bodies.extend(of_wasmi());
        }
        for body in bodies {
            // Often, so that it is this that is counted, and not the loop around it.
            let text = endless(&functions(), &body.repeat(4));
            let Some(each) = instructions(engine, &text, FUEL) else {
                panic!("{engine:?} does not run {body}");
            };
            println!("{engine:?} {:.2} {body}", each / plain);
            if each > MOST * plain {
                dear.push(format!(
                    "{engine:?}: {:.1} of a plain loop's: {body}",
                    each / plain
                ));
            }
        }
    }
    assert!(dear.is_empty(), "{}", dear.join("\n"));
}

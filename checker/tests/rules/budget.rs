//! What is paid.

use wprobe_checker::{RATE, Rule};

use crate::asm::{Tables, assembled, checked};
use crate::{called, program, proves, proves_all, refuses, refuses_all};

const LOOP: &str = "a loop takes more than it pays for";

#[test]
fn a_loop_pays_at_each_turn() {
    let turn = |pay: &str| format!("mov r12, [r15+32]; again: {pay}; add rsi, 1; jne again; nop");
    let store = "; mov [r15+32], r12";
    proves(&format!("{}{store}", turn("sub r12, 1; jb fail")));
    for pay in [
        "nop",
        "sub r12, 1",
        "cmp rsi, 1; jb fail",
        "sub r12, 1; je fail",
        "sub r12, 1; cmp rsi, 0; jb fail",
        "sub r12, 1; jae fail",
    ] {
        let refusal = checked(&assembled(&[&program(&turn(pay))], &Tables::default()));
        assert_eq!(refusal.unwrap_err().rule, Rule::Budget, "{pay}");
    }
    refuses(
        &turn("add r12, 1"),
        Rule::Budget,
        "the budget is computed with",
    );
    let what = "something else than a number is taken off the budget";
    refuses(&turn("sub r12, -1; jb fail"), Rule::Budget, what);
    refuses(&turn("sub r12, 0; jb fail"), Rule::Budget, what);
    refuses(&turn("sub r12, rsi; jb fail"), Rule::Budget, what);
    refuses(
        &turn("sub r12d, 1; jb fail"),
        Rule::Budget,
        "the budget is computed with",
    );
}

#[test]
fn a_turn_pays_for_all_that_it_does() {
    let turn = |cost: u32, length: usize| {
        let body = "add rsi, 1;".repeat(length);
        format!(
            "mov r12, [r15+32]; again: sub r12, {cost}; jb fail; {body} test esi, 1; jne again
             mov [r15+32], r12"
        )
    };
    // Four instructions are the loop's own.
    let rate = RATE as usize;
    proves(&turn(1, rate - 4));
    refuses(&turn(1, rate - 3), Rule::Budget, LOOP);
    proves(&turn(2, 2 * rate - 4));
    refuses(&turn(2, 2 * rate - 3), Rule::Budget, LOOP);
}

#[test]
fn an_inner_loop_pays_for_itself() {
    let nest = |inner: &str| {
        format!(
            "mov r12, [r15+32]
             outer: sub r12, 1; jb fail
             inner: {inner}; add rsi, 1; jne inner
             test esi, 1; jne outer
             mov [r15+32], r12"
        )
    };
    proves(&nest("sub r12, 1; jb fail"));
    refuses(&nest("nop"), Rule::Budget, LOOP);
}

#[test]
fn a_payment_is_off_what_is_left() {
    let read = "a budget is read that is not what is left";
    let again =
        "mov r12, [r15+32]; again: sub r12, 1; jb fail; mov r12, [r15+32]; add rsi, 1; jne again";
    refuses(again, Rule::Budget, read);
    let copy = "mov r12, [r15+32]; mov r13, r12; sub r12, 1; jb fail; mov [r15+32], r13";
    let written = "a budget is written that is not what is left";
    refuses(copy, Rule::Budget, written);
    refuses("mov [r15+32], rsi", Rule::Budget, written);
    refuses("mov qword [r15+32], 5", Rule::Budget, written);
    // Where it was not there, nothing is left.
    let spent =
        "mov r12, [r15+32]; sub r12, 1; jae on; mov [r15+32], r12; jmp fail; on: mov [r15+32], r12";
    refuses(spent, Rule::Budget, written);
}

#[test]
fn callees_find_what_is_left() {
    let find = "what is left of the budget is not where a callee finds it";
    let pay = "mov r12, [r15+32]; sub r12, 1; jb fail";
    proves(&format!("{pay}; mov [r15+32], r12"));
    refuses(pay, Rule::Budget, find);
    let call = "mov rdi, r15; mov edx, 1; call i0";
    refuses(&format!("{pay}; {call}"), Rule::Budget, find);
    proves(&format!("{pay}; mov [r15+32], r12; {call}"));
    // What it took off is gone.
    let written = "a budget is written that is not what is left";
    let stale = format!("{pay}; mov [r15+32], r12; {call}; mov [r15+32], r12");
    refuses(&stale, Rule::Budget, written);
    // One that only reads takes nothing off.
    proves(&format!("{pay}; mov rdi, r15; call i1; mov [r15+32], r12"));
}

#[test]
fn called_functions_look_at_the_stacks_limit() {
    let tables = Tables::default();
    let caller = program("mov [rbp-8], r15; call f1; mov r15, [rbp-8]");
    proves_all(&[&caller, &called("")], &tables);
    let limit = "the stack's limit was not looked at";
    for wrong in [
        "",
        "cmp rsp, [r15+40]",
        "cmp rsp, [r15+40]; jbe fail",
        "cmp rsp, [r15+40]; jae fail",
    ] {
        let deep = called("").replace("cmp rsp, [r15+40]; jb fail", wrong);
        refuses_all(&[&caller, &deep], &tables, Rule::Stack, limit);
    }
    // Before it calls, too.
    let late = "mov [rbp-8], r15; call f1; mov r15, [rbp-8]; mov r12, [r15+32]; sub r12, 3; jb fail; mov [r15+32], r12; cmp rsp, [r15+40]; jb fail";
    refuses_all(&[&caller, &program(late)], &tables, Rule::Stack, limit);
    // What it calls must not begin lower.
    let lower = "mov [rbp-8], r15; mov [r15+32], r12; sub rsp, 64; call f1; add rsp, 64; mov r15, [rbp-8]; mov r12, [r15+32]";
    refuses_all(&[&caller, &called(lower)], &tables, Rule::Stack, limit);
    let same = "mov [rbp-8], r15; mov [r15+32], r12; sub rsp, 64; add rsp, 64; call f1; mov r15, [rbp-8]; mov r12, [r15+32]";
    proves_all(&[&caller, &called(same)], &tables);
    // Nor be what was looked at before the stack pointer moved.
    let moved = called(
        "mov [rbp-8], r15; mov [r15+32], r12; call f1; mov r15, [rbp-8]; mov r12, [r15+32]; lea rsp, [rbp-32]",
    );
    let moved = moved.replace(
        "cmp rsp, [r15+40]; jb fail",
        "cmp rsp, [r15+40]; lea rsp, [rbp-96]; jae on; mov rdi, r15; mov esi, 4; mov edx, 0; call trap; ud2; on:",
    );
    refuses_all(&[&caller, &moved], &tables, Rule::Stack, limit);
    // Those that helpers call are called.
    let callbacks = Tables {
        programs: vec![],
        callbacks: vec![0],
        ..Tables::default()
    };
    refuses_all(&[&program("")], &callbacks, Rule::Stack, limit);
}

#[test]
fn no_function_goes_far_unpaid() {
    let tables = Tables::default();
    let caller = program("mov [rbp-8], r15; call f1; mov r15, [rbp-8]");
    let long = |count| called(&"add rsi, 1;".repeat(count));
    let rate = RATE as usize;
    // What it pays for, and what its caller did.
    proves_all(&[&caller, &long((3 + 16) * rate - 20)], &tables);
    let far = "it runs further than it has paid for";
    refuses_all(
        &[&caller, &long((3 + 16) * rate)],
        &tables,
        Rule::Budget,
        far,
    );
    // What a hit pays for, by far most of it for calls.
    proves(&"add rsi, 1;".repeat(256 * rate - 20));
    refuses(&"add rsi, 1;".repeat(256 * rate), Rule::Budget, far);
    proves(&"mov rdi, r15; call i1;".repeat(15));
    refuses(&"mov rdi, r15; call i1;".repeat(16), Rule::Budget, far);
}

#[test]
fn a_loop_pays_for_its_calls() {
    let turn = |cost: u32| {
        let call = "mov rdi, r15; call i1;";
        format!(
            "mov r12, [r15+32]; again: sub r12, {cost}; jb fail; {call} {call} test rax, rax; jne again; mov [r15+32], r12"
        )
    };
    proves(&turn(2 * 16 + 1));
    refuses(&turn(2 * 16), Rule::Budget, LOOP);
}

//! Each rule of PROVES.md: code that is proven, and the same with one fault, which is refused for it.

#[path = "../asm/mod.rs"]
mod asm;
mod budget;
mod control;
mod memory;
mod numbers;

use asm::{Tables, assembled, checked};
use wprobe_checker::Rule;

/// A program with room for four words, the vm in r15, and `body`.
fn program(body: &str) -> String {
    format!(
        "push rbp; mov rbp, rsp; sub rsp, 32; mov r15, rdi
         {body}
         mov edi, 0; leave; jmp return
         fail:
         mov rdi, r15; mov esi, 1; mov edx, -1; call trap; ud2"
    )
}

/// A function that other functions call: it pays, and looks at the stack's limit.
fn called(body: &str) -> String {
    program(&format!(
        "mov r12, [r15+32]
         sub r12, 3; jb fail
         cmp rsp, [r15+40]; jb fail
         {body}
         mov [r15+32], r12"
    ))
}

#[track_caller]
fn proves_all(functions: &[&str], tables: &Tables) {
    if let Err(refusal) = checked(&assembled(functions, tables)) {
        panic!("{refusal}\n{functions:#?}");
    }
}

#[track_caller]
fn refuses_all(functions: &[&str], tables: &Tables, rule: Rule, what: &str) {
    match checked(&assembled(functions, tables)) {
        Ok(_) => panic!("proven: {functions:#?}"),
        Err(refusal) => {
            assert_eq!((refusal.rule, refusal.what), (rule, what), "{functions:#?}");
        }
    }
}

#[track_caller]
fn proves(body: &str) {
    proves_all(&[&program(body)], &Tables::default());
}

#[track_caller]
fn refuses(body: &str, rule: Rule, what: &str) {
    refuses_all(&[&program(body)], &Tables::default(), rule, what);
}

const OUTSIDE: &str = "an access that may be outside of guest memory";
const UNDEFINED: &str = "a value that nobody computed, or an address, is used";

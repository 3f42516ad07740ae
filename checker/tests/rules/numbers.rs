//! Divisions, atomics, scans, and what loops change.

use wprobe_checker::Rule;

use crate::asm::{Tables, assembled, checked};
use crate::{OUTSIDE, UNDEFINED, program, proves, refuses};

// ---- divisions

#[test]
fn divisors_are_not_zero_and_quotients_fit() {
    let unsigned = |test: &str| format!("mov ecx, esi; mov eax, 5; {test}; xor edx, edx; div ecx");
    proves(&unsigned("test ecx, ecx; je fail"));
    proves(&unsigned("mov ecx, 3"));
    let zero = "a division that may be by zero";
    for test in [
        "nop",
        "test eax, eax; je fail",
        "test ecx, ecx; jne fail",
        "mov ecx, 0",
        "test rsi, rsi; je fail",
    ] {
        refuses(&unsigned(test), Rule::Division, zero);
    }
    let overflow = "a division that may overflow";
    refuses(
        "mov eax, 5; mov ecx, 3; mov edx, 1; div ecx",
        Rule::Division,
        overflow,
    );
    let signed = |test: &str| format!("mov eax, 5; mov rcx, rsi; test rcx, rcx; je fail; {test}");
    proves(&signed("cmp rcx, -1; je fail; cqo; idiv rcx"));
    for test in [
        "cqo; idiv rcx",
        "cmp rcx, -1; jne fail; cqo; idiv rcx",
        "cmp rcx, -1; je fail; idiv rcx",
        "cmp rcx, -1; je fail; cqo; mov rax, rsi; idiv rcx",
        "cmp rcx, -1; je fail; cqo; mov rdx, 0; idiv rcx",
        "cmp rcx, -1; je fail; cdq; idiv rcx",
    ] {
        let refusal = checked(&assembled(&[&program(&signed(test))], &Tables::default()));
        assert_eq!(refusal.unwrap_err().rule, Rule::Division, "{test}");
    }
    refuses(&signed("cqo; idiv ecx"), Rule::Division, zero);
}

// ---- atomics

#[test]
fn atomics_are_bounded_and_aligned() {
    // A guest pointer's tag is taken off, and what is left is turned by the operand's bits: below so many cells it is both.
    let tag = "movabs r11, 0xa8bd300000000000; lea rax, [rsi+r11]";
    let atomic =
        |check: &str, op: &str| format!("{tag}; {check}; mov eax, esi; mov r14, [r15]; {op}");
    let check = "ror rax, 3; cmp rax, 0x2000; jae fail";
    for op in [
        "lock add [r14+rax], rsi",
        "lock xadd [r14+rax], rsi",
        "mov rcx, rax; mov eax, 5; lock cmpxchg [r14+rcx], rsi",
        "xchg [r14+rax], rsi",
        "lock and qword [r14+rax], 1",
        "lock xor dword [r14+rax+4], 1",
    ] {
        proves(&atomic(check, op));
    }
    let unaligned = "an atomic access that may not be aligned";
    for op in ["lock add [r14+rax+1], rsi", "xchg [r14+rax+4], rsi"] {
        let less = "ror rax, 3; cmp rax, 0x1fff; jae fail";
        refuses(&atomic(less, op), Rule::Access, unaligned);
    }
    refuses(
        &atomic(
            "ror rax, 2; cmp rax, 0x3fff; jae fail",
            "xchg [r14+rax], rsi",
        ),
        Rule::Access,
        unaligned,
    );
    for wrong in [
        "ror rax, 3; cmp rax, 0x2001; jae fail",
        "ror rax, 3; cmp rax, 0x2000; ja fail",
        "ror rax, 3; cmp eax, 0x2000; jae fail",
        "ror rax, 4; cmp rax, 0x2000; jae fail",
        "rol rax, 3; cmp rax, 0x2000; jae fail",
        "shr rax, 3; cmp rax, 0x2000; jae fail",
        "add rax, 8; ror rax, 3; cmp rax, 0x2000; jae fail",
        "nop",
    ] {
        refuses(
            &atomic(wrong, "lock add [r14+rax], rsi"),
            Rule::Access,
            OUTSIDE,
        );
    }
    let frame = "an atomic access outside of guest memory";
    refuses(
        "mov [rbp-8], rsi; lock add [rbp-8], rsi",
        Rule::Access,
        frame,
    );
    refuses("lock sub qword [r15+32], 1", Rule::Access, frame);
    proves("mov eax, esi; and eax, 0xff8; mov r14, [r15]; lock add [r14+rax], rsi");
    refuses(
        "mov eax, esi; and eax, 0xff4; mov r14, [r15]; lock add [r14+rax], rsi",
        Rule::Access,
        unaligned,
    );
}

// ---- scans

#[test]
fn a_scan_that_finds_nothing_leaves_what_was_there() {
    let scan = |behind: &str| format!("mov r11, 64; bsf rbx, rsi; {behind}; add rbx, 1");
    proves(&scan("cmove rbx, r11"));
    proves(&format!("mov rbx, 0; {}", scan("nop")));
    for behind in [
        "nop",
        "cmovne rbx, r11",
        "cmove rcx, r11",
        "cmp rsi, 5; cmove rbx, r11",
        "mov rbx, r14; cmove rbx, r11",
        "pop rbx; cmove rbx, r11; push rbx",
    ] {
        refuses(&scan(behind), Rule::Secret, UNDEFINED);
    }
}

// ---- loops

#[test]
fn what_a_loop_changes_is_not_known_in_it() {
    let turn = |begin: &str, body: &str| {
        format!(
            "mov r12, [r15+32]; mov r14, [r15]; {begin}
             again: sub r12, 1; jb fail; {body}; test esi, 1; jne again
             mov [r15+32], r12"
        )
    };
    proves(&turn("mov eax, 0", "movzx ecx, byte [r14+rax]"));
    proves(&turn(
        "mov eax, 0",
        "cmp eax, 0xffff; ja fail; movzx ecx, byte [r14+rax]; add eax, 1",
    ));
    proves(&turn(
        "mov eax, esi; cmp eax, 0xff; ja fail",
        "movzx ecx, byte [r14+rax]; add esi, 1",
    ));
    refuses(
        &turn("mov eax, 0", "movzx ecx, byte [r14+rax]; add eax, 1"),
        Rule::Access,
        OUTSIDE,
    );
    let unbounded = "an index without a bound";
    refuses(
        &turn(
            "mov eax, 0",
            "cmp eax, 0xffff; ja fail; movzx ecx, byte [r14+rax]; add rax, rsi",
        ),
        Rule::Access,
        unbounded,
    );
    // Changed late, through others.
    refuses(
        &turn(
            "mov eax, 0; mov ecx, 0; mov edx, 0",
            "movzx ebx, byte [r14+rax]; mov eax, ecx; mov ecx, edx; add edx, 1",
        ),
        Rule::Access,
        OUTSIDE,
    );
    let none = "an access through what is no known address";
    refuses(
        &turn("nop", "mov rcx, [r14]; mov r14, rsi"),
        Rule::Access,
        none,
    );
    refuses(
        &turn("nop", "mov rcx, [r14]; mov r14, r15"),
        Rule::Access,
        none,
    );
}

#[test]
fn one_slot_is_as_a_register_in_loops() {
    let turn = |body: &str| {
        format!(
            "mov r12, [r15+32]; mov r14, [r15]; mov qword [rbp-8], 0
             again: sub r12, 1; jb fail; mov eax, [rbp-8]; {body}; test esi, 1; jne again
             mov [r15+32], r12"
        )
    };
    proves(&turn("movzx ecx, byte [r14+rax]"));
    refuses(
        &turn("movzx ecx, byte [r14+rax]; mov [rbp-8], rsi"),
        Rule::Access,
        OUTSIDE,
    );
    proves(&turn(
        "cmp eax, 0xff; ja fail; movzx ecx, byte [r14+rax]; mov [rbp-8], rsi",
    ));
}

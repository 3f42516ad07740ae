//! What code may touch.

use wprobe_checker::Rule;

use crate::{OUTSIDE, UNDEFINED, proves, refuses};

// ---- guest memory

#[test]
fn an_index_is_bounded_by_a_comparison() {
    let load = |cmp: &str| format!("mov eax, esi; {cmp}; mov r14, [r15]; mov rax, [r14+rax]");
    proves(&load("cmp eax, 0xfff8; ja fail"));
    proves(&load("cmp eax, 0xfff9; jae fail"));
    proves(&load("cmp rax, 0xfff8; ja fail"));
    proves(&load("and eax, 0x7fff"));
    proves(&load("shr eax, 17"));
    proves(&load("movzx eax, al"));
    for cmp in [
        "",
        "cmp eax, 0xfff9; ja fail",
        "cmp eax, 0xfff8; jg fail",
        "cmp eax, 0xfff8; jb fail",
        "cmp esi, 0xfff8; jae on; on:",
        "cmp eax, 0xfff8; ja on; on:",
        "and eax, 0xffff",
        "shr eax, 15",
        "movsx eax, al",
        "sub eax, 8",
        "cmp eax, 0xfff8; ja fail; add eax, 8",
        "cmp eax, 0xfff8; ja fail; rol eax, 1",
    ] {
        refuses(&load(cmp), Rule::Access, OUTSIDE);
    }
}

#[test]
fn a_bound_of_the_lower_half_is_none_of_the_whole() {
    proves("cmp esi, 0xff; ja fail; mov eax, esi; mov r14, [r15]; movzx eax, byte [r14+rax]");
    proves(
        "cmp esi, 0xff; ja fail; mov eax, esi; mov [rbp-8], rsi; mov ecx, [rbp-8]; mov r14, [r15]; movzx eax, byte [r14+rcx]",
    );
    let unbounded = "an index without a bound";
    let whole = "cmp esi, 0xff; ja fail; mov r14, [r15]; movzx eax, byte [r14+rsi]";
    refuses(whole, Rule::Access, unbounded);
    let other =
        "cmp esi, 0xff; ja fail; mov esi, [rbp-8]; mov r14, [r15]; movzx eax, byte [r14+rsi]";
    refuses(other, Rule::Secret, "an index that nobody computed");
}

#[test]
fn all_that_an_access_reaches_is_bounded() {
    let load =
        |m: &str| format!("mov eax, esi; cmp eax, 0xff; ja fail; mov r14, [r15]; mov rcx, {m}");
    proves(&load("[r14+rax*8+0xf800]"));
    proves(&load("[r14+rax+0xfef9]"));
    proves(&load("[r14+0xfff8]"));
    for m in [
        "[r14+rax*8+0xf801]",
        "[r14+rax+0xfefa]",
        "[r14+0xfff9]",
        "[r14+rax-1]",
        "[r14-8]",
    ] {
        refuses(&load(m), Rule::Access, OUTSIDE);
    }
}

#[test]
fn stores_are_bounded_as_loads_are() {
    let store =
        |what: &str| format!("mov eax, esi; cmp eax, 0xfffc; ja fail; mov r14, [r15]; {what}");
    proves(&store("mov [r14+rax], esi"));
    proves(&store("mov dword [r14+rax], 5"));
    proves(&store("add [r14+rax], esi"));
    refuses(&store("mov [r14+rax], rsi"), Rule::Access, OUTSIDE);
    refuses(&store("mov qword [r14+rax], 5"), Rule::Access, OUTSIDE);
    refuses(&store("add [r14+rax], rsi"), Rule::Access, OUTSIDE);
}

#[test]
fn a_bound_holds_where_all_ways_bring_it() {
    let both = |second: &str| {
        format!(
            "mov eax, esi; test esi, esi; js other
             cmp eax, 0xff; ja fail; jmp on
             other: {second}
             on: mov r14, [r15]; movzx ecx, byte [r14+rax]"
        )
    };
    proves(&both("cmp eax, 0xfe; ja fail"));
    proves(&both("mov eax, 7"));
    refuses(&both("cmp eax, 0x1ffff; ja fail"), Rule::Access, OUTSIDE);
    refuses(&both("nop"), Rule::Access, OUTSIDE);
}

#[test]
fn the_cpus_area_is_known() {
    let area = |m: &str| format!("mov r13, [r15+8]; mov {m}, rsi");
    proves(&area("[r13-4096]"));
    proves(&area("[r13+8184]"));
    refuses(&area("[r13-4097]"), Rule::Access, OUTSIDE);
    refuses(&area("[r13+8185]"), Rule::Access, OUTSIDE);
}

#[test]
fn an_address_is_nothing_else() {
    let none = "an access through what is no known address";
    for access in [
        "mov rax, [rsi]",
        "mov rax, [rsi+rsi]",
        "mov rax, [r8+8]",
        "mov r14, [r15]; mov rax, [rsi+r14*2]",
        "mov eax, 64; mov rax, [rax]",
        "mov r14, [r15]; mov rax, [rbp+rsi]",
        "mov rax, [r15+rsi]",
        "mov rax, [r15+40]; mov rax, [rax]",
    ] {
        refuses(access, Rule::Access, none);
    }
}

// ---- the vm

#[test]
fn fields_are_read_as_wide_as_they_are_and_only_the_budget_is_written() {
    proves("mov rax, [r15+24]; mov ecx, [r15+16]; mov rdx, [r15+16]");
    let none = "a read of the vm where it has no such field";
    for field in [
        "mov eax, [r15]",
        "mov eax, [r15+8]",
        "mov rax, [r15+4]",
        "mov rax, [r15+48]",
        "mov rax, [r15+56]",
        "movzx eax, word [r15+16]",
        "mov eax, [r15+32]",
    ] {
        refuses(field, Rule::Access, none);
    }
    refuses("mov rax, [r15-8]", Rule::Access, "an access below the vm");
    for field in ["", "+8", "+16", "+24", "+40", "+48"] {
        let store = format!("mov [r15{field}], rsi");
        refuses(&store, Rule::Access, "a write to the vm");
    }
}

// ---- the frame

#[test]
fn the_frame_is_between_the_stack_pointer_and_the_return_address() {
    proves("mov [rbp-32], rsi; mov rax, [rsp]; mov [rbp-8], rax");
    let outside = "an access to the stack outside of the frame";
    for access in [
        "mov [rbp-40], rsi",
        "mov [rsp-8], rsi",
        "mov rax, [rbp+8]",
        "mov [rbp+8], rsi",
        "mov [rbp+16], rsi",
        "mov [rbp+4], rsi",
    ] {
        refuses(access, Rule::Access, outside);
    }
    let two = "an access to two slots of the frame";
    refuses("mov [rbp-12], rsi", Rule::Access, two);
}

#[test]
fn what_was_left_on_the_stack_is_not_read() {
    proves("mov [rbp-8], rsi; mov rax, [rbp-8]; add rax, 1");
    refuses("mov rax, [rbp-8]; add rax, 1", Rule::Secret, UNDEFINED);
    refuses(
        "mov [rbp-8], esi; mov rax, [rbp-8]; add rax, 1",
        Rule::Secret,
        UNDEFINED,
    );
    let gone =
        "push rsi; pop rcx; push rbp; pop rcx; sub rsp, 8; mov rax, [rsp]; add rax, 1; add rsp, 8";
    refuses(gone, Rule::Secret, UNDEFINED);
}

#[test]
fn addresses_do_not_get_out() {
    for secret in ["r15", "rsp", "rbp", "r14", "r12", "rbx"] {
        let begin = "mov r14, [r15]; mov r12, [r15+32];";
        let store = format!("{begin} mov [r14+8], {secret}");
        let what = "a store of what the guest must not see";
        refuses(&store, Rule::Secret, what);
        if secret != "r12" && secret != "rsp" {
            let sum = format!("{begin} add rsi, {secret}");
            refuses(&sum, Rule::Secret, UNDEFINED);
            let half = format!("{begin} mov eax, {}; add eax, 1", half(secret));
            refuses(&half, Rule::Secret, UNDEFINED);
        }
    }
    refuses("cmp rsi, rbx", Rule::Secret, UNDEFINED);
    refuses("jb fail", Rule::Secret, "flags that nobody set are used");
}

fn half(register: &str) -> String {
    match register.strip_prefix('r') {
        Some(number) if number.parse::<u8>().is_ok() => format!("{register}d"),
        Some(name) => format!("e{name}"),
        None => unreachable!("{register}"),
    }
}

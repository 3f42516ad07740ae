//! Each rule of PROVES.md: code that is proven, and the same with one fault, which is refused for it.

mod asm;

use asm::{Tables, assembled, checked};
use wprobe_checker::{RATE, Rule};

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

// ---- the stack

#[test]
fn the_stack_is_whole_at_the_end() {
    let end = |end: &str| {
        let text = format!("push rbp; mov rbp, rsp; sub rsp, 32; mov rdi, 0; {end}; jmp return");
        checked(&assembled(&[&text], &Tables::default()))
    };
    assert!(end("leave").is_ok());
    assert!(end("add rsp, 32; pop rbp").is_ok());
    assert!(end("mov rsp, rbp; pop rbp").is_ok());
    for wrong in [
        "",
        "pop rbp",
        "add rsp, 24; pop rbp",
        "add rsp, 40",
        "leave; push rbp",
        "leave; mov rbp, 0",
        "mov [rbp], rsi; leave",
    ] {
        let refusal = end(wrong).unwrap_err();
        let what = "a return with another stack than at the entry";
        assert_eq!((refusal.rule, refusal.what), (Rule::Stack, what), "{wrong}");
    }
    let refusal = end("add rsp, 48; pop rbp").unwrap_err();
    assert_eq!(refusal.what, "the stack pointer leaves the frame");
}

#[test]
fn the_stack_pointer_is_only_moved_by_what_is_known() {
    let leaves = "the stack pointer leaves the frame";
    proves("sub rsp, 1080; add rsp, 1080");
    refuses("sub rsp, 1120; add rsp, 1120", Rule::Stack, leaves);
    refuses("sub rsp, 4; add rsp, 4", Rule::Stack, leaves);
    refuses(
        "sub rsp, rsi",
        Rule::Stack,
        "the stack pointer is computed with",
    );
    refuses(
        "and rsp, -16",
        Rule::Stack,
        "the stack pointer is computed with",
    );
    refuses(
        "mov rsp, rsi",
        Rule::Stack,
        "the stack pointer becomes something else",
    );
    refuses(
        "pop rsp",
        Rule::Stack,
        "the stack pointer becomes something else",
    );
    refuses(
        "sub esp, 8",
        Rule::Stack,
        "half of the stack pointer is computed with",
    );
    let meet = "ways meet with different stack pointers";
    refuses("test rsi, rsi; je on; push rsi; on:", Rule::Stack, meet);
    let turns = "mov r12, [r15+32]; again: sub r12, 1; jb fail; push rsi; jmp again";
    refuses(turns, Rule::Stack, meet);
}

#[test]
fn calls_are_aligned_and_have_a_frame_pointer() {
    let call = "mov rdi, r15; call i1";
    proves(call);
    proves(&format!("push rax; push rax; {call}; add rsp, 16"));
    let aligned = "a call with a stack that is not aligned";
    refuses(
        &format!("push rax; {call}; add rsp, 8"),
        Rule::Stack,
        aligned,
    );
    let frame = "a call without a frame pointer";
    refuses(&format!("mov [rbp], rsi; {call}"), Rule::Stack, frame);
    refuses(&format!("mov rbp, 0; {call}"), Rule::Stack, frame);
}

// ---- calls

#[test]
fn a_call_has_the_vm_and_its_arguments() {
    proves("mov edx, 1; call i0");
    proves("mov rdi, r15; mov edx, 1; call i0; mov rsi, rax; mov rdi, r15; mov edx, 2; call i0");
    let none = "a call without the vm";
    refuses("mov edi, 1; mov edx, 1; call i0", Rule::Call, none);
    refuses(
        "mov edx, 1; call i0; mov rsi, 1; mov rdx, 1; call i0",
        Rule::Call,
        none,
    );
    refuses("mov rdi, [r15]; mov edx, 1; call i0", Rule::Call, none);
    refuses("mov rdx, r15; call i0", Rule::Secret, UNDEFINED);
    refuses("mov edx, 1; mov rsi, rbx; call i0", Rule::Secret, UNDEFINED);
    refuses("call i1; mov rdi, r15; call i0", Rule::Secret, UNDEFINED);
}

#[test]
fn registers_that_a_call_changes_are_not_read_behind_it() {
    for register in ["rcx", "rdx", "rsi", "r8", "r9", "r10", "r11"] {
        let read = format!("mov {register}, 1; call i1; add {register}, 1");
        refuses(&read, Rule::Secret, UNDEFINED);
    }
    for register in ["rbx", "r12", "r13", "r14"] {
        proves(&format!("mov {register}, 1; call i1; add {register}, 1"));
    }
}

#[test]
fn functions_keep_nothing_for_their_callers() {
    let tables = Tables::default();
    let callee = called("");
    let caller = |body: &str| program(&format!("mov [rbp-8], r15; {body}; mov r15, [rbp-8]"));
    proves_all(&[&caller("call f1; add rax, 1"), &callee], &tables);
    for register in ["rbx", "r12", "r13", "r14", "rcx"] {
        let read = caller(&format!("mov {register}, 1; call f1; add {register}, 1"));
        refuses_all(&[&read, &callee], &tables, Rule::Secret, UNDEFINED);
    }
    let vm = caller("call f1; mov rdi, r15; call f1");
    refuses_all(
        &[&vm, &callee],
        &tables,
        Rule::Call,
        "a call without the vm",
    );
}

#[test]
fn functions_are_given_what_they_read() {
    let tables = Tables::default();
    let reads = called("mov rax, rsi; add rax, rcx");
    let caller = |body: &str| {
        program(&format!(
            "mov [rbp-8], r15; {body}; call f1; mov r15, [rbp-8]"
        ))
    };
    proves_all(&[&caller("mov ecx, 1"), &reads], &tables);
    let none = "a call without an argument that the callee reads";
    refuses_all(
        &[&caller("mov rcx, rbx"), &reads],
        &tables,
        Rule::Call,
        none,
    );
    let entry = "an entry reads arguments that it is not given";
    refuses_all(&[&caller("nop"), &reads], &tables, Rule::Call, entry);
    refuses("mov rax, rcx; add rax, 1", Rule::Call, entry);
    // Through one that only passes it on.
    let between =
        called("mov [r15+32], r12; mov [rbp-8], r15; call f2; mov r15, [rbp-8]; mov r12, [r15+32]");
    proves_all(&[&caller("mov ecx, 1"), &between, &reads], &tables);
    refuses_all(
        &[&caller("nop"), &between, &reads],
        &tables,
        Rule::Call,
        entry,
    );
    let callbacks = Tables {
        programs: vec![],
        callbacks: vec![0],
        ..Tables::default()
    };
    proves_all(&[&reads], &callbacks);
}

#[test]
fn what_ends_the_run_does_not_come_back() {
    proves("test rsi, rsi; je fail");
    let end = |end: &str| program(&format!("jmp on; {end}; on:"));
    let tables = Tables::default();
    let trap = "on: mov rdi, r15; mov esi, 1; mov edx, 2; call trap";
    let ends = |end: &str| format!("push rbp; mov rbp, rsp; mov r15, rdi; sub rsp, 16; {end}");
    proves_all(&[&ends(&format!("{trap}; ud2"))], &tables);
    let behind = "no ud2 behind what does not come back";
    refuses_all(&[&ends(trap)], &tables, Rule::Call, behind);
    refuses_all(
        &[&ends(&format!("{trap}; nop; ud2"))],
        &tables,
        Rule::Call,
        behind,
    );
    let ud2 = "ud2 where control may come";
    refuses("ud2", Rule::Decode, ud2);
    proves_all(&[&end("ud2")], &tables);
}

#[test]
fn callees_are_reached_as_they_want_it() {
    let way = "a callee that is not reached this way";
    refuses("call return", Rule::Call, way);
    refuses("jmp i1", Rule::Call, way);
    refuses("jmp trap", Rule::Call, way);
    let text = program("test rsi, rsi; je trap");
    let refusal = checked(&assembled(&[&text], &Tables::default())).unwrap_err();
    assert_eq!(refusal.rule, Rule::Call);
}

// ---- jumps

#[test]
fn jumps_go_to_instructions_of_their_function() {
    let jump = "a jump to what is no instruction of its function";
    // Into its own displacement, before the function, behind it, into another.
    for by in ["ff ff ff ff", "00 ff ff ff", "00 01 00 00", "80 ff ff ff"] {
        refuses(&format!("db e9 {by}"), Rule::Jump, jump);
        refuses(&format!("test rsi, rsi; db 0f 84 {by}"), Rule::Jump, jump);
    }
    proves("jmp on; on:");
    proves("test rsi, rsi; je on; nop; on:");
}

#[test]
fn control_does_not_leave_a_functions_end() {
    let text = "push rbp; pop rbp; mov edi, 0";
    let other = program("");
    let leaves = "control leaves the function's end";
    for functions in [vec![text], vec![text, &other]] {
        refuses_all(&functions, &Tables::default(), Rule::Jump, leaves);
    }
}

#[test]
fn own_calls_go_to_functions() {
    let no = "a call of what is no function";
    refuses("db e8 01 00 00 00", Rule::Call, no);
    refuses("db e8 fb ff ff ff", Rule::Call, no);
}

#[test]
fn nothing_else_is_an_instruction() {
    let none = "no instruction that is known";
    for bytes in [
        "c3",    // ret
        "cf",    // iretq
        "ff d0", // call rax
        "ff e0", // jmp rax
        "ff 25 00 00 00 00",
        "0f 05",                   // syscall
        "0f 01 c1",                // vmcall
        "0f 30",                   // wrmsr
        "0f 22 d8",                // mov cr3, rax
        "fa",                      // cli
        "f4",                      // hlt
        "ec",                      // in al, dx
        "cd 80",                   // int 0x80
        "f3 a4",                   // rep movsb
        "a4",                      // movsb
        "65 48 8b 00",             // mov rax, gs:[rax]
        "67 48 8b 00",             // mov rax, [eax]
        "48 8b 05 00 00 00 00",    // mov rax, [rip]
        "48 8b 04 25 00 00 00 00", // mov rax, [0]
        "0f ae f0",                // mfence
        "0f a2",                   // cpuid
        "0f 31",                   // rdtsc
        "8e d8",                   // mov ds, eax
        "f0 48 01 c0",             // lock add rax, rax
        "f0 48 8b 00",             // lock mov
        "f0 48 39 00",             // lock cmp
        "66 01 c0",                // add ax, ax
        "41 90",                   // xchg r8, rax
        "48 87 c3",                // xchg rbx, rax
        "88 e0",                   // mov al, ah
        "0f b6 c4",                // movzx eax, ah
        "0f 94 c4",                // sete ah
        "d9 c0",                   // fld
        "66 0f 6e c0",             // movd
        "c5 f8 77",                // vzeroupper
        "f7 e0",                   // mul
        "d3 d0",                   // rcl
        "c1 e0 20",                // shl eax, 32
        "8f c0",                   // pop rax, another way
        "ff f0",                   // push rax, another way
        "48 50",
    ] {
        refuses(&format!("db {bytes}"), Rule::Decode, none);
    }
    for bytes in ["48", "e8 00 00", "48 b8 00 00 00 00", "66", "f0", "0f"] {
        let text = format!("db {bytes}");
        let refusal = checked(&assembled(&[&text], &Tables::default())).unwrap_err();
        assert_eq!(refusal.rule, Rule::Decode, "{bytes}");
    }
}

// ---- the budget

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

// ---- how much

#[test]
fn a_text_is_functions_and_filler() {
    let layout = |bytes: &[u8]| {
        let mut text = asm::Text::default();
        text.function(&program(""));
        text.bytes.extend(bytes);
        checked(&asm::image(text, &Tables::default())).map_err(|r| r.rule)
    };
    assert!(layout(&[0xcc; 70]).is_ok());
    assert_eq!(layout(&[0xcc, 0x90]), Err(Rule::Layout));
    assert_eq!(layout(&[0xcc, 0xf3, 0x0f, 0x1e]), Err(Rule::Layout));
    // A function that nobody calls is proven, too.
    assert_eq!(
        layout(&[0xcc, 0xf3, 0x0f, 0x1e, 0xfa, 0xc3]),
        Err(Rule::Decode)
    );
    let entries = Tables {
        programs: vec![0],
        ..Tables::default()
    };
    let mut image = assembled(&[&program("")], &entries);
    // Names may be as long as the entry is far in.
    let mut windows = image.windows(4).enumerate();
    let entry = windows.rfind(|(_, w)| *w == 12u32.to_le_bytes()).unwrap().0;
    image[entry] = 16;
    assert_eq!(checked(&image).unwrap_err().rule, Rule::Layout);
}

#[test]
fn displacements_lie_in_calls() {
    let mut text = asm::Text::default();
    text.function(&program("mov rax, rsi"));
    let inside = text.starts[0] + 1;
    text.calls.push((inside, 1));
    let refusal = checked(&asm::image(text, &Tables::default())).unwrap_err();
    assert_eq!(refusal.what, "a callee's displacement is in no call");
    let mut text = asm::Text::default();
    text.function(&program("call i1"));
    let first = text.calls[0];
    text.calls.push(first);
    let refusal = checked(&asm::image(text, &Tables::default())).unwrap_err();
    assert_eq!(refusal.what, "two callees of one call");
}

#[test]
fn who_asks_may_stop() {
    let bytes = assembled(&[&program("")], &Tables::default());
    let image = abi::native::Image::read(&bytes).unwrap();
    let refusal = wprobe_checker::check(&image, &mut || true).unwrap_err();
    assert_eq!(refusal.rule, Rule::Interrupted);
}

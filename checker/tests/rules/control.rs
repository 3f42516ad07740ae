//! The stack, calls, jumps, and how a text is cut.

use wprobe_checker::Rule;

use crate::asm::{self, Tables, assembled, checked};
use crate::{UNDEFINED, called, program, proves, proves_all, refuses, refuses_all};

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

#[test]
fn the_longest_text_is_a_matter_of_steps() {
    // A megabyte of branches, with all the words of a frame to carry along; in loops that change each other's numbers.
    let begin =
        "push rbp; mov rbp, rsp; sub rsp, 1080; mov r15, rdi; test rsi, rsi; mov r12, [r15+32];";
    let branches = format!("{begin} {}", "db 74 00;".repeat(500_000));
    let turns = format!("{begin} {}", "add rax, rsi; db 75 f6;".repeat(200_000));
    for text in [branches, turns] {
        let image = assembled(&[&text], &Tables::default());
        let start = std::time::Instant::now();
        assert!(checked(&image).is_err());
        let took = start.elapsed();
        assert!(took.as_secs() < 10, "{took:?} for {} bytes", image.len());
    }
}

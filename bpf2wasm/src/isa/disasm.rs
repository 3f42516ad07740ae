//! Instructions to text, as [`super::asm`] reads it.

use alloc::format;
use alloc::string::String;

use abi::helpers;

use super::insn::{Insn, Operand};
use super::table::{Form, Row, Shape, class};

/// The mnemonic of `row` with the suffix that `opcode`'s width asks for.
pub(crate) fn mnemonic(row: &Row, opcode: u8) -> String {
    format!("{}{}", row.mnemonic, suffix(row, opcode))
}

/// What the width of `opcode` adds to the mnemonic of `row`.
pub(super) fn suffix(row: &Row, opcode: u8) -> &'static str {
    match row.form {
        Form::Load | Form::StoreImm | Form::StoreReg | Form::PacketAbs | Form::PacketInd => {
            ["w", "h", "b", "dw"][usize::from(opcode >> 3 & 3)]
        }
        Form::Atomic | Form::AtomicLoad => ["32", "16", "8", "64"][usize::from(opcode >> 3 & 3)],
        _ if row.classes.len() < 2 || matches!(opcode & 7, class::ALU64 | class::JMP) => "",
        _ if row.mnemonic.ends_with(|c: char| c.is_ascii_digit()) => "_32",
        _ => "32",
    }
}

/// One instruction as text. Jumps name the distance; `lddw` its pseudo source.
pub(crate) fn disassemble(insn: &Insn) -> String {
    let name = mnemonic(insn.row, insn.opcode);
    let (dst, src, imm) = (insn.dst, insn.src, insn.imm);
    let memory = |register: u8| format!("[r{register}{:+}]", insn.off);
    let operand = match insn.operand() {
        Operand::Reg(register) => format!("r{register}"),
        Operand::Imm(imm) => format!("{imm}"),
    };
    match insn.row.form {
        Form::Binary => format!("{name} r{dst}, {operand}"),
        Form::Unary => format!("{name} r{dst}"),
        Form::Wide => format!("{name} r{dst}, {}", wide(src, imm)),
        Form::Load | Form::AtomicLoad => format!("{name} r{dst}, {}", memory(src)),
        Form::StoreImm | Form::StoreReg | Form::Atomic => {
            format!("{name} {}, {operand}", memory(dst))
        }
        Form::Branch => format!("{name} r{dst}, {operand}, {:+}", insn.off),
        Form::Near => format!("{name} {:+}", insn.off),
        Form::Far => format!("{name} {imm:+}"),
        Form::Call => format!("{name} {}", callee(insn)),
        Form::Bare => name,
        Form::PacketAbs => format!("{name} {imm}"),
        Form::PacketInd => format!("{name} r{src}, {imm}"),
    }
}

/// What an `ld_imm64` with pseudo source `src` loads.
fn wide(src: u8, imm: i64) -> String {
    let (low, high) = (imm as u32, (imm >> 32) as u32);
    match src {
        0 => format!("{imm:#x}"),
        1 | 5 => format!("map#{low}"),
        2 | 6 => format!("value#{low}{:+}", high as i32),
        4 => format!("func {:+}", low as i32),
        _ => format!("pseudo{src} {imm:#x}"),
    }
}

fn callee(insn: &Insn) -> String {
    let helper = u32::try_from(insn.imm).ok().and_then(helpers::by_id);
    match (&insn.row.shape, helper) {
        (Shape::Helper, Some(row)) => String::from(row.name),
        (Shape::Local, _) => format!("{:+}", insn.imm),
        _ => format!("{}", insn.imm),
    }
}

//! Text to instructions: the syntax that [`super::disasm`] prints, with labels and comments.
//!
//! One instruction a line; `name:` is a label; `;` and `#` at the start of a word begin a comment.
//! Jumps, `callf` and `lddw rN, func` take a label or a distance in slots (`+3`).

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::helpers;

use super::disasm::suffix;
use super::table::{Field, Form, K, ROWS, Row, Shape, X};

/// What is wrong with a line of assembly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsmError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl core::fmt::Display for AsmError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl core::error::Error for AsmError {}

/// Assembles to bytes.
pub fn assemble(text: &str) -> Result<Vec<u8>, AsmError> {
    let mut labels = BTreeMap::new();
    let mut lines = Vec::new();
    let mut slot = 0;
    for (line, text) in text.lines().enumerate() {
        let text = strip_comment(text).trim();
        if let Some(label) = text.strip_suffix(':') {
            labels.insert(label.trim(), slot);
        } else if !text.is_empty() {
            lines.push((line + 1, slot, text));
            slot += if text.starts_with("lddw") { 2 } else { 1 };
        }
    }
    let mut code = Vec::new();
    for (line, slot, text) in lines {
        let bytes = Line {
            labels: &labels,
            slot,
        }
        .assemble(text);
        code.extend(bytes.map_err(|what| AsmError { line, what })?);
    }
    Ok(code)
}

fn strip_comment(text: &str) -> &str {
    let hash = text.find("# ").or(text.starts_with('#').then_some(0));
    let end = [text.find(';'), hash].into_iter().flatten().min();
    &text[..end.unwrap_or(text.len())]
}

/// The fields of an instruction.
#[derive(Default)]
struct Fields {
    opcode: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i64,
}

impl Fields {
    fn encode(&self, wide: bool) -> Vec<u8> {
        let mut bytes = Vec::from([self.opcode, self.src << 4 | self.dst]);
        bytes.extend(self.off.to_le_bytes());
        bytes.extend((self.imm as i32).to_le_bytes());
        if wide {
            bytes.extend([0; 4]);
            bytes.extend(((self.imm >> 32) as i32).to_le_bytes());
        }
        bytes
    }
}

struct Line<'a> {
    labels: &'a BTreeMap<&'a str, i64>,
    slot: i64,
}

impl Line<'_> {
    fn assemble(&self, text: &str) -> Result<Vec<u8>, String> {
        let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let operands: Vec<&str> = rest
            .split(',')
            .map(str::trim)
            .filter(|o| !o.is_empty())
            .collect();
        let last_is_register = |o: &[&str]| o.last().is_some_and(|o| register(o).is_ok());
        let operand = match operands.len() {
            3 => last_is_register(&operands[..2]),
            _ => last_is_register(&operands),
        };
        let (row, opcode) =
            find(name, operand).ok_or_else(|| format!("unknown mnemonic {name:?}"))?;
        let mut fields = Fields {
            opcode,
            ..Fields::default()
        };
        if let Field::Is(src) = row.src {
            fields.src = src as u8;
        }
        if let Field::Is(off) = row.off {
            fields.off = off as i16;
        }
        if let Field::Is(imm) = row.imm {
            fields.imm = i64::from(imm);
        }
        self.operands(row, &operands, &mut fields)?;
        Ok(fields.encode(row.form == Form::Wide))
    }

    fn operands(&self, row: &Row, operands: &[&str], f: &mut Fields) -> Result<(), String> {
        match (row.form, operands) {
            (Form::Binary, [dst, value]) => {
                f.dst = register(dst)?;
                value_into(value, f)?;
            }
            (Form::Unary, [dst]) => f.dst = register(dst)?,
            (Form::Wide, [dst, value]) => {
                f.dst = register(dst)?;
                (f.src, f.imm) = self.wide(value)?;
            }
            (Form::Load | Form::AtomicLoad, [dst, place]) => {
                f.dst = register(dst)?;
                (f.src, f.off) = memory(place)?;
            }
            (Form::StoreImm | Form::StoreReg, [place, value]) => {
                (f.dst, f.off) = memory(place)?;
                value_into(value, f)?;
            }
            (Form::Atomic, [place, src]) => {
                (f.dst, f.off) = memory(place)?;
                f.src = register(src)?;
            }
            (Form::Branch, [dst, value, target]) => {
                f.dst = register(dst)?;
                value_into(value, f)?;
                f.off = narrow(self.distance(target)?)?;
            }
            (Form::Near, [target]) => f.off = narrow(self.distance(target)?)?,
            (Form::Far, [target]) => f.imm = self.distance(target)?,
            (Form::Call, [callee]) => f.imm = self.callee(row, callee)?,
            (Form::Bare, []) => {}
            (Form::PacketAbs, [imm]) => f.imm = number(imm)?,
            (Form::PacketInd, [src, imm]) => {
                f.src = register(src)?;
                f.imm = number(imm)?;
            }
            (_, operands) => {
                return Err(format!(
                    "{} does not take {} operands",
                    row.mnemonic,
                    operands.len()
                ));
            }
        }
        Ok(())
    }

    /// Slots from behind this instruction to `target`.
    fn distance(&self, target: &str) -> Result<i64, String> {
        match self.labels.get(target) {
            Some(slot) => Ok(slot - self.slot - 1),
            None => number(target),
        }
    }

    fn callee(&self, row: &Row, callee: &str) -> Result<i64, String> {
        match (&row.shape, helpers::by_name(callee)) {
            (Shape::Helper, Some(helper)) => Ok(i64::from(helper.id)),
            (Shape::Local, _) => self.distance(callee),
            _ => number(callee),
        }
    }

    /// Pseudo source and value of an `lddw` operand.
    fn wide(&self, value: &str) -> Result<(u8, i64), String> {
        if let Some(map) = value.strip_prefix("map#") {
            return Ok((1, number(map)?));
        }
        if let Some(place) = value.strip_prefix("value#") {
            let (map, offset) = place.split_at(place.find(['+', '-']).unwrap_or(place.len()));
            let offset = if offset.is_empty() {
                0
            } else {
                number(offset)?
            };
            return Ok((2, offset << 32 | number(map)?));
        }
        match value.strip_prefix("func ") {
            Some(target) => Ok((4, i64::from(self.distance(target.trim())? as u32))),
            None => Ok((0, number(value)?)),
        }
    }
}

/// The row and opcode called `name`, with a register or an immediate as its last operand.
fn find(name: &str, operand_is_register: bool) -> Option<(&'static Row, u8)> {
    ROWS.iter()
        .filter_map(|row| Some((row, name.strip_prefix(row.mnemonic)?)))
        .find_map(|(row, rest)| {
            let both = row.low == [K, X] && matches!(row.form, Form::Binary | Form::Branch);
            let source = if operand_is_register { X } else { K };
            let mut opcodes = row.opcodes().filter(|opcode| !both || opcode & X == source);
            opcodes
                .find(|opcode| suffix(row, *opcode) == rest)
                .map(|opcode| (row, opcode))
        })
}

fn register(text: &str) -> Result<u8, String> {
    let number = text
        .strip_prefix('r')
        .and_then(|n| n.parse().ok())
        .filter(|n| *n < 16);
    number.ok_or_else(|| format!("{text:?} is no register"))
}

/// `[rN+OFFSET]`.
fn memory(text: &str) -> Result<(u8, i16), String> {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("{text:?} is no memory operand"))?;
    let (base, offset) = inner.split_at(inner.find(['+', '-']).unwrap_or(inner.len()));
    let offset = if offset.is_empty() {
        0
    } else {
        narrow(number(offset)?)?
    };
    Ok((register(base.trim())?, offset))
}

/// A register or a 32-bit immediate, into the field for it.
fn value_into(text: &str, fields: &mut Fields) -> Result<(), String> {
    match register(text) {
        Ok(register) => fields.src = register,
        Err(_) => {
            fields.imm = number(text)?;
            let fits = i32::try_from(fields.imm).is_ok() || u32::try_from(fields.imm).is_ok();
            fits.then_some(())
                .ok_or_else(|| format!("{text} does not fit in 32 bits"))?;
        }
    }
    Ok(())
}

fn narrow(value: i64) -> Result<i16, String> {
    i16::try_from(value).map_err(|_| format!("{value} does not fit in 16 bits"))
}

/// A decimal or hexadecimal number with an optional sign; hexadecimal ones may use all 64 bits.
fn number(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).map(|v| v as i64).ok(),
        None => digits.parse::<u64>().map(|v| v as i64).ok(),
    };
    let value =
        value.ok_or_else(|| format!("{:?} is neither number nor label", text.to_owned()))?;
    Ok(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

//! The opcodes, and what each means.

use crate::decode::{Decoder, Operands};
use crate::insn::{Alu, Count, Flow, Op, Rm, Shift, Source, Swap};

impl Decoder<'_> {
    /// Behind `66`: stores of 16 bits, and loads are `0f b7`.
    pub(crate) fn word(&mut self, opcode: u8) -> Option<Op> {
        match (opcode, self.operands()?) {
            (
                0x89,
                Operands {
                    reg,
                    rm: Rm::Mem(m),
                },
            ) => Some(Op::Store {
                to: Rm::Mem(m),
                from: reg,
                size: 2,
            }),
            (
                0xc7,
                Operands {
                    reg,
                    rm: Rm::Mem(m),
                },
            ) if reg & 7 == 0 => {
                let value = u64::from(u16::from_le_bytes(self.bytes()?));
                Some(Op::StoreImm {
                    to: m,
                    value,
                    size: 2,
                })
            }
            _ => None,
        }
    }

    /// Behind `f0`.
    pub(crate) fn atomic(&mut self, opcode: u8) -> Option<Op> {
        let wide = self.wide();
        if opcode == 0x0f {
            let second = self.byte()?;
            let Operands {
                reg,
                rm: Rm::Mem(at),
            } = self.operands()?
            else {
                return None;
            };
            let kind = match second {
                0xc1 => Swap::Add,
                0xb1 => Swap::Compare,
                _ => return None,
            };
            return Some(Op::Swap {
                kind,
                at,
                with: reg,
                wide,
            });
        }
        let op = match opcode {
            0x01 | 0x09 | 0x21 | 0x29 | 0x31 => self.alu_to(opcode)?,
            0x81 | 0x83 => self.alu_imm(opcode)?,
            _ => return None,
        };
        match op {
            Op::Alu { op: Alu::Cmp, .. } => None,
            Op::Alu {
                op,
                to: to @ Rm::Mem(_),
                from,
                wide,
                ..
            } => Some(Op::Alu {
                op,
                to,
                from,
                wide,
                locked: true,
            }),
            _ => None,
        }
    }

    pub(crate) fn plain(&mut self, opcode: u8) -> Option<Op> {
        let wide = self.wide();
        let op = match opcode {
            0x0f => return self.second(),
            0x01 | 0x09 | 0x21 | 0x29 | 0x31 | 0x39 => self.alu_to(opcode)?,
            0x03 | 0x0b | 0x23 | 0x2b | 0x33 | 0x3b => self.alu_from(opcode)?,
            0x05 | 0x0d | 0x25 | 0x2d | 0x35 | 0x3d => {
                let value = self.imm32()?;
                alu(number(opcode)?, Rm::Reg(0), imm(value), wide)
            }
            0x81 | 0x83 => self.alu_imm(opcode)?,
            0x50..=0x57 if !wide => Op::Push(self.with_rex(opcode, 0)),
            0x58..=0x5f if !wide => Op::Pop(self.with_rex(opcode, 0)),
            0x63 if wide => self.load(4, true)?,
            0x69 | 0x6b => self.mul_imm(opcode)?,
            0x70..=0x7f => near(Flow::Branch(opcode & 15), self.imm8()?),
            0x85 => self.test()?,
            0x87 => match self.operands()? {
                Operands {
                    reg,
                    rm: Rm::Mem(at),
                } => Op::Swap {
                    kind: Swap::Exchange,
                    at,
                    with: reg,
                    wide,
                },
                _ => return None,
            },
            0x88 => self.store(1)?,
            0x89 => self.store(if wide { 8 } else { 4 })?,
            0x8b => self.load(if wide { 8 } else { 4 }, false)?,
            0x8d => match self.operands()? {
                Operands {
                    reg,
                    rm: Rm::Mem(from),
                } => Op::Lea {
                    to: reg,
                    from,
                    wide,
                },
                _ => return None,
            },
            0x90 => Op::Nop,
            0x99 => Op::Sign { wide },
            0xa9 => Op::Test {
                a: 0,
                b: imm(self.imm32()?),
                wide,
            },
            0xb8..=0xbf => self.mov_imm(opcode)?,
            0xc1 | 0xd1 | 0xd3 => self.shift(opcode)?,
            0xc6 | 0xc7 => self.store_imm(opcode)?,
            0xc9 => Op::Leave,
            0xe8 => far(Flow::Call, self.imm32()?),
            0xe9 => far(Flow::Jump, self.imm32()?),
            0xeb => near(Flow::Jump, self.imm8()?),
            0xf7 => self.unary()?,
            _ => return None,
        };
        Some(op)
    }

    /// Behind `0f`.
    fn second(&mut self) -> Option<Op> {
        let wide = self.wide();
        let opcode = self.byte()?;
        let op = match opcode {
            0x0b => Op::Undefined,
            0x40..=0x4f => {
                let Operands { reg, rm } = self.operands()?;
                Op::Cmov {
                    condition: opcode & 15,
                    to: reg,
                    from: rm,
                    wide,
                }
            }
            0x80..=0x8f => far(Flow::Branch(opcode & 15), self.imm32()?),
            0x90..=0x9f => match self.operands()? {
                Operands {
                    reg,
                    rm: Rm::Reg(to),
                } if reg & 7 == 0 && self.is_low_byte(to) => Op::Set { to },
                _ => return None,
            },
            0xaf => {
                let Operands { reg, rm } = self.operands()?;
                let b = Source::Rm(rm);
                Op::Mul {
                    to: reg,
                    a: Rm::Reg(reg),
                    b,
                    wide,
                }
            }
            0xb6 | 0xbe => self.load(1, opcode == 0xbe)?,
            0xb7 | 0xbf => self.load(2, opcode == 0xbf)?,
            0xbc | 0xbd => match self.operands()? {
                Operands {
                    reg,
                    rm: Rm::Reg(from),
                } => Op::Scan {
                    to: reg,
                    from,
                    wide,
                },
                _ => return None,
            },
            0xc8..=0xcf => Op::Bswap {
                to: self.with_rex(opcode, 0),
                wide,
            },
            _ => return None,
        };
        Some(op)
    }

    fn alu_to(&mut self, opcode: u8) -> Option<Op> {
        let Operands { reg, rm } = self.operands()?;
        let from = Source::Rm(Rm::Reg(reg));
        Some(alu(number(opcode)?, rm, from, self.wide()))
    }

    fn alu_from(&mut self, opcode: u8) -> Option<Op> {
        let Operands { reg, rm } = self.operands()?;
        let op = number(opcode)?;
        Some(alu(op, Rm::Reg(reg), Source::Rm(rm), self.wide()))
    }

    fn alu_imm(&mut self, opcode: u8) -> Option<Op> {
        let Operands { reg, rm } = self.operands()?;
        let value = match opcode {
            0x83 => self.imm8()?,
            _ => self.imm32()?,
        };
        Some(alu(number(reg << 3)?, rm, imm(value), self.wide()))
    }

    fn mul_imm(&mut self, opcode: u8) -> Option<Op> {
        let Operands { reg, rm } = self.operands()?;
        let value = match opcode {
            0x6b => self.imm8()?,
            _ => self.imm32()?,
        };
        Some(Op::Mul {
            to: reg,
            a: rm,
            b: imm(value),
            wide: self.wide(),
        })
    }

    fn test(&mut self) -> Option<Op> {
        match self.operands()? {
            Operands {
                reg,
                rm: Rm::Reg(a),
            } => Some(Op::Test {
                a,
                b: Source::Rm(Rm::Reg(reg)),
                wide: self.wide(),
            }),
            _ => None,
        }
    }

    fn load(&mut self, size: u8, signed: bool) -> Option<Op> {
        let Operands { reg, rm } = self.operands()?;
        if let (1, Rm::Reg(from)) = (size, rm)
            && !self.is_low_byte(from)
        {
            return None;
        }
        Some(Op::Load {
            to: reg,
            from: rm,
            size,
            signed,
            wide: self.wide(),
        })
    }

    fn store(&mut self, size: u8) -> Option<Op> {
        let Operands { reg, rm } = self.operands()?;
        let is_byte = size == 1;
        let fits = !is_byte || self.is_low_byte(reg) && matches!(rm, Rm::Mem(_)) && !self.wide();
        fits.then_some(Op::Store {
            to: rm,
            from: reg,
            size,
        })
    }

    fn store_imm(&mut self, opcode: u8) -> Option<Op> {
        let Operands { reg, rm } = self.operands()?;
        if reg & 7 != 0 {
            return None;
        }
        let wide = self.wide();
        match (opcode, rm) {
            (0xc6, Rm::Mem(to)) if !wide => Some(Op::StoreImm {
                to,
                value: self.byte()?.into(),
                size: 1,
            }),
            (0xc7, Rm::Mem(to)) => {
                let value = i64::from(self.imm32()?) as u64;
                let size = if wide { 8 } else { 4 };
                Some(Op::StoreImm { to, value, size })
            }
            (0xc7, Rm::Reg(to)) if wide => {
                let value = i64::from(self.imm32()?) as u64;
                Some(Op::Imm { to, value })
            }
            _ => None,
        }
    }

    fn mov_imm(&mut self, opcode: u8) -> Option<Op> {
        let to = self.with_rex(opcode, 0);
        let value = match self.wide() {
            true => u64::from_le_bytes(self.bytes()?),
            false => u32::from_le_bytes(self.bytes()?).into(),
        };
        Some(Op::Imm { to, value })
    }

    fn shift(&mut self, opcode: u8) -> Option<Op> {
        let Operands {
            reg,
            rm: Rm::Reg(to),
        } = self.operands()?
        else {
            return None;
        };
        let kind = match reg & 7 {
            0 => Shift::Rol,
            1 => Shift::Ror,
            4 => Shift::Shl,
            5 => Shift::Shr,
            7 => Shift::Sar,
            _ => return None,
        };
        let wide = self.wide();
        let by = match opcode {
            0xd1 => Count::Imm(1),
            0xd3 => Count::Cl,
            _ => Count::Imm(self.byte()?),
        };
        let bits = if wide { 64 } else { 32 };
        let fits = !matches!(by, Count::Imm(by) if by >= bits);
        fits.then_some(Op::Shift { kind, to, by, wide })
    }

    fn unary(&mut self) -> Option<Op> {
        let Operands {
            reg,
            rm: Rm::Reg(to),
        } = self.operands()?
        else {
            return None;
        };
        let wide = self.wide();
        match reg & 7 {
            0 => Some(Op::Test {
                a: to,
                b: imm(self.imm32()?),
                wide,
            }),
            kind @ (2 | 3) => Some(Op::Unary {
                to,
                negate: kind == 3,
                wide,
            }),
            kind @ (6 | 7) => Some(Op::Div {
                by: to,
                signed: kind == 7,
                wide,
            }),
            _ => None,
        }
    }
}

fn imm(value: i32) -> Source {
    Source::Imm(i64::from(value) as u64)
}

fn alu(op: Alu, to: Rm, from: Source, wide: bool) -> Op {
    Op::Alu {
        op,
        to,
        from,
        wide,
        locked: false,
    }
}

/// The operation that bits 3 to 5 tell.
fn number(bits: u8) -> Option<Alu> {
    match bits >> 3 & 7 {
        0 => Some(Alu::Add),
        1 => Some(Alu::Or),
        4 => Some(Alu::And),
        5 => Some(Alu::Sub),
        6 => Some(Alu::Xor),
        7 => Some(Alu::Cmp),
        _ => None,
    }
}

fn near(flow: Flow, by: i32) -> Op {
    let far = false;
    Op::Go { flow, by, far }
}

fn far(flow: Flow, by: i32) -> Op {
    let far = true;
    Op::Go { flow, by, far }
}

//! From operators to instructions of x86-64.
//!
//! Operators are walked once, with an operand stack of [`value::Value`]s: what need not be computed yet is not; what was stays in
//! a register as long as there are some. Locals lie where [`crate::places`] put them. Whether registers are kept for
//! addresses of the runtime, and whether there is a frame, is known at the end only: then the walk is repeated.
//!
//! | register | holds |
//! |---|---|
//! | r15, or rdi in a function that calls nobody | the `Vm` |
//! | r14 | `Vm::memory`, if it is asked for often |
//! | r13 | `Vm::stack`, likewise |
//! | r12 | what is left of the budget, in functions that pay |
//! | r11 | scratch: set by one instruction, used by the next |
//! | rax | operands |
//! | rcx, rdx | operands, or locals where operands do without |
//! | the others | locals, or operands |

mod address;
mod arithmetic;
mod atomic;
mod call;
mod compare;
mod control;
mod encode;
mod entry;
mod local;
mod machine;
mod select;
mod shift;
mod value;

use abi::traps::Trap;
use cost::UNPAID;

use crate::arena::List;
use crate::body::Body;
use crate::facts::Facts;
use crate::image::Text;
use crate::module::Module;
use crate::operator::Op;
use crate::plan::Plan;
use crate::registers::{Place, Reg, Regs};
use crate::{Made, Refused, webs};

use control::Frame;
use encode::{Code, Label};
use machine::R11;
use value::Value;

/// Set by one instruction and used by the next.
const SCRATCH: Reg = R11;
/// Walks over a function at most.
const WALKS: usize = 10;

/// What a walk ends with that finds no register for an operand.
const NO_REGISTER: &str = "registers";

/// What is known at the end of a walk only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Choice {
    /// A register is kept for the address of memory.
    memory: bool,
    /// A register is kept for the address of the stack.
    stack: bool,
    /// There are words in the frame.
    framed: bool,
    /// It calls nobody, and the `Vm` stays where it came.
    leaf: bool,
    /// What is left to operands.
    room: Room,
}

/// How many registers no local may have, so that operands find some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    /// One.
    Tight,
    /// Three.
    Usual,
    /// Two more.
    Ample,
}

impl Room {
    fn more(self) -> Option<Self> {
        match self {
            Self::Tight => Some(Self::Usual),
            Self::Usual => Some(Self::Ample),
            Self::Ample => None,
        }
    }
}

impl Choice {
    /// Both, where only one of them works and the other is a matter of taste.
    fn safer(self, other: Self) -> Self {
        Self {
            memory: self.memory | other.memory,
            stack: self.stack | other.stack,
            framed: self.framed | other.framed,
            leaf: self.leaf & other.leaf,
            room: self.room.max(other.room),
        }
    }
}

/// A way that is rarely taken: an atomic operation on a bad pointer, which the runtime is asked about.
#[derive(Clone, Copy)]
struct Cold {
    from: Label,
    back: Label,
    /// What lives over it, and where it is kept.
    saved: Regs,
    first_slot: u16,
    import: u32,
    args: [Option<Value>; 3],
    result: Option<Reg>,
    /// Whether all of the register is the result.
    wide: bool,
}

struct Emitter<'e, 'a, 'm> {
    module: &'e Module<'a, 'm>,
    body: &'e Body<'m>,
    plan: &'e Plan<'m>,
    choice: Choice,
    /// Whether functions of the module, or helpers, call it.
    is_called: bool,
    code: Code<'m>,
    /// The operator at work.
    at: usize,
    stack: List<'m, Value>,
    /// What is below that on the stack depends on no register and no local.
    settled: usize,
    frames: List<'m, Frame>,
    /// How deep in what is never reached.
    dead: Option<u32>,
    loops: u32,
    facts: Facts<'m>,
    places: List<'m, Place>,
    /// Locals that were placed last: others may be near them.
    anchors: [Option<u16>; 4],
    /// Registers that operands may have.
    temps: Regs,
    /// Those of them that none has.
    free: Regs,
    /// Which local's lower half a free register holds, too.
    copies: [Option<u16>; 16],
    slots: u16,
    free_slots: List<'m, u16>,
    vm: Reg,
    /// Whether it pays.
    pays: bool,
    traps: [Option<Label>; Trap::ALL.len()],
    colds: List<'m, Cold>,
    /// Displacements to callees of the image: where, which.
    calls: List<'m, (u32, u32)>,
    /// Displacements to functions of the module: where, which.
    own: List<'m, (u32, u32)>,
    /// Where what lives over cold ways is kept.
    cold_slots: Option<u16>,
    frame_size_at: Option<u32>,
    memory_uses: u64,
    stack_uses: u64,
    has_context: bool,
    /// Bytes of the context that are read at known places.
    context_read: u32,
    /// Something else is done with the pointer to it.
    context_escapes: bool,
}

/// Compiles own function `index` and appends it to `text`.
pub(crate) fn function<'m>(module: &Module<'_, 'm>, index: u32, text: &mut Text<'m>) -> Made<()> {
    let mut body = Body::read(module, index)?;
    webs::split(module.arena, &mut body)?;
    let plan = Plan::new(module, &body)?;
    let mut choice = Choice {
        memory: plan.accesses >= 3 || plan.has_atomics,
        stack: false,
        framed: !plan.calls.is_empty(),
        leaf: plan.calls.is_empty(),
        room: Room::Tight,
    };
    for walk in 0..WALKS {
        let mut emitter = Emitter::new(module, &body, &plan, choice, index)?;
        match emitter.walk() {
            Err(Refused::Compiler(NO_REGISTER)) if choice.room.more().is_some() => {
                choice.room = choice.room.more().unwrap_or(choice.room);
                continue;
            }
            walked => walked?,
        }
        let mut wanted = emitter.wanted();
        if walk >= 2 {
            wanted = choice.safer(wanted);
        }
        if wanted == choice {
            return emitter.finish(text);
        }
        choice = wanted;
    }
    Err(Refused::Compiler("walks"))
}

impl<'e, 'a, 'm> Emitter<'e, 'a, 'm> {
    fn new(
        module: &'e Module<'a, 'm>,
        body: &'e Body<'m>,
        plan: &'e Plan<'m>,
        choice: Choice,
        index: u32,
    ) -> Made<Self> {
        let arena = module.arena;
        let is_called = module.is_called(index);
        Ok(Self {
            module,
            body,
            plan,
            choice,
            is_called,
            code: Code::new(arena),
            at: 0,
            stack: List::new(arena),
            settled: 0,
            frames: List::new(arena),
            dead: None,
            loops: 0,
            facts: Facts::new(arena, body.locals.len())?,
            places: List::new(arena),
            anchors: [None; 4],
            temps: Regs::NONE,
            free: Regs::NONE,
            copies: [None; 16],
            slots: 0,
            free_slots: List::new(arena),
            vm: if choice.leaf {
                machine::RDI
            } else {
                machine::R15
            },
            pays: is_called || body.costs.entry > UNPAID || !body.costs.loops.is_empty(),
            traps: [None; Trap::ALL.len()],
            colds: List::new(arena),
            calls: List::new(arena),
            own: List::new(arena),
            cold_slots: None,
            frame_size_at: None,
            memory_uses: 0,
            stack_uses: 0,
            has_context: false,
            context_read: 0,
            context_escapes: false,
        })
    }

    fn walk(&mut self) -> Made<()> {
        self.begin()?;
        while let Some(op) = self.body.op(self.at) {
            self.operator(op)?;
            self.module.arena.check()?;
            self.at += 1;
        }
        Ok(())
    }

    /// What would have been right.
    fn wanted(&self) -> Choice {
        Choice {
            memory: self.memory_uses >= 3 || self.plan.has_atomics,
            stack: self.stack_uses >= 3,
            framed: self.slots > 0,
            leaf: self.plan.calls.is_empty() && self.colds.is_empty(),
            room: self.choice.room,
        }
    }

    fn operator(&mut self, op: Op) -> Made<()> {
        if self.dead.is_some() {
            return self.skip(op);
        }
        match op {
            Op::Nop => Ok(()),
            Op::Block { .. }
            | Op::Loop { .. }
            | Op::If { .. }
            | Op::Else
            | Op::End { .. }
            | Op::Branch(_)
            | Op::BranchIf(_)
            | Op::BranchTable { .. }
            | Op::Return
            | Op::Unreachable => self.control(op),
            Op::Drop => {
                let value = self.pop()?;
                self.release(&value);
                Ok(())
            }
            Op::Get(local) => self.get(local),
            Op::Set(local) => {
                let value = self.pop()?;
                self.set(local, value)
            }
            Op::Tee(local) => {
                let value = self.pop()?;
                self.set(local, value)?;
                self.get(local)
            }
            Op::Const { wide, value } => self.push(Value::constant(wide, value)),
            Op::StackBase => self.push(Value::placed(0, false)),
            Op::Call(index) => self.call(index),
            Op::Select => self.select_on_number(),
            Op::Wrap => self.wrap(),
            Op::Widen => self.widen(),
            Op::Extend { wide, bytes } => self.extend(wide, bytes),
            Op::IsZero(wide) => self.is_zero(wide),
            Op::Compare(wide, condition) => self.compare(wide, condition),
            Op::Binary(wide, binary) => self.binary(wide, binary),
            Op::Unary(wide, unary) => self.unary(wide, unary),
            Op::Load {
                wide,
                bytes,
                signed,
                offset,
            } => self.load(wide, bytes, signed, offset),
            Op::Store { bytes, offset } => self.store(bytes, offset),
            Op::MemorySize => {
                let pages = self.module.memory / abi::layout::WASM_PAGE;
                self.push(Value::constant(false, pages.into()))
            }
            Op::MemoryGrow => {
                let to = self.trap(Trap::Growth);
                self.code.jump(to);
                self.dead = Some(0);
                Ok(())
            }
        }
    }
}

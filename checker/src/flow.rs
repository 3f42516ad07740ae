//! One function, walked through until what was assumed holds.
//!
//! Each block is walked once a pass, behind all that lead to it. Where an edge goes back, what is known at its block is
//! assumed: that of the edges before. An edge back then has to bring no less, or else less is assumed in the next pass.
//! What the last pass assumed, it proved.

use alloc::vec::Vec;

use crate::calls::{ARGUMENTS, Import, OwnCall};
use crate::decode::decode;
use crate::graph::Graph;
use crate::insn::{Cc, Flow as Way, Op, RBP, RDI, REGISTERS};
use crate::join::{Assumed, join};
use crate::layout::{Callee, Layout, Span, push};
use crate::refusal::{Broken, NO_MEMORY, Proof, Refusal, Rule};
use crate::state::State;
use crate::step::Walk;
use crate::value::{Id, Number, Value};

/// Machine instructions that a unit of the budget pays for.
pub const RATE: i64 = 16;
/// Units that a call takes off its caller, whoever is called; a function of the text begins with what they pay for.
pub const CALL: i64 = cost::CALL as i64;
/// Units that a function does not pay which only the runtime calls, once a run: the hit does.
pub const UNPAID: i64 = cost::UNPAID as i64;
/// How often a function is walked through at most.
pub const PASSES: u32 = 16;
/// Cells, all states of a function together, that wait to be walked on from.
const MOST_CELLS: usize = 1 << 20;

/// What is common to all functions of an image.
pub(crate) struct Image<'i> {
    pub(crate) layout: &'i Layout<'i>,
    pub(crate) imports: &'i [Import],
    pub(crate) memory: u64,
    /// Steps that may still be taken.
    pub(crate) effort: u64,
    pub(crate) is_interrupted: &'i mut dyn FnMut() -> bool,
    /// All calls of own functions.
    pub(crate) calls: Vec<OwnCall>,
    /// Passes over all functions, added.
    pub(crate) passes: u64,
}

pub(crate) struct Flow<'f, 'i> {
    image: &'f mut Image<'i>,
    graph: Graph,
    index: u32,
    span: Span,
    /// Of each block, what the edges to it bring so far.
    incoming: Vec<Option<State>>,
    /// Of each block that an edge goes back to, what is assumed.
    assumed: Vec<Option<Assumed>>,
    /// Cells of both.
    cells: usize,
    /// In the order, the block that is walked through.
    place: u32,
    id: Id,
    reads: u8,
}

/// Something is wrong at an offset.
type At<T> = Result<T, (Broken, u32)>;

fn none<T>(count: usize) -> Proof<Vec<Option<T>>> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| NO_MEMORY)?;
    list.resize_with(count, || None);
    Ok(list)
}

impl<'f, 'i> Flow<'f, 'i> {
    /// Proves function `index`; which arguments it reads.
    pub(crate) fn prove(image: &'f mut Image<'i>, index: u32, span: Span) -> Result<u8, Refusal> {
        let graph = Graph::of(image.layout, index, span)?;
        let refused = |broken: Broken| broken.at(Some(index), span.start);
        let count = graph.leaders.len();
        let mut flow = Self {
            image,
            graph,
            index,
            span,
            incoming: none(count).map_err(refused)?,
            assumed: none(count).map_err(refused)?,
            cells: 0,
            place: 0,
            id: 0,
            reads: 0,
        };
        for _ in 0..PASSES {
            let calls = flow.image.calls.len();
            let done = flow.pass();
            if done.map_err(|(broken, at)| broken.at(Some(index), at))? {
                return Ok(flow.reads);
            }
            flow.image.calls.truncate(calls);
        }
        Err(refused(Rule::Effort.broken("loops that do not settle")))
    }

    /// Walks through all blocks; whether all that was assumed holds.
    fn pass(&mut self) -> At<bool> {
        self.image.passes += 1;
        let start = self.span.start;
        let entry = self.entry().map_err(|broken| (broken, start))?;
        if let Some(first) = self.incoming.first_mut() {
            *first = Some(entry);
        }
        for place in 0..self.graph.order.len() {
            self.place = place as u32;
            let block = self.graph.order.get(place).copied().unwrap_or(0) as usize;
            let leader = self.graph.leaders.get(block).copied();
            let start = leader.unwrap_or(self.span.start);
            self.block(block, start)?;
        }
        let mut holds = true;
        for assumed in self.assumed.iter_mut().flatten() {
            holds &= assumed.settle();
        }
        Ok(holds)
    }

    fn entry(&mut self) -> Proof<State> {
        let mut registers = [Value::Undefined; REGISTERS];
        let mut set = |register: u8, value| {
            if let Some(place) = registers.get_mut(usize::from(register)) {
                *place = value;
            }
        };
        set(RDI, Value::Vm);
        set(RBP, Value::Saved);
        for (bit, register) in ARGUMENTS.into_iter().enumerate() {
            self.id += 1;
            let mut number = Number::new(self.id);
            number.arguments = 1 << bit;
            set(register, Value::Number(number));
        }
        let credit = match self.span.is_called {
            true => CALL * RATE,
            false => UNPAID * RATE,
        };
        State::entry(registers, credit)
    }

    fn block(&mut self, block: usize, start: u32) -> At<()> {
        let state = self.incoming.get_mut(block).and_then(Option::take);
        let Some(mut state) = state else {
            return Ok(());
        };
        self.cells = self.cells.saturating_sub(state.cells().len());
        if self.graph.is_header.get(block) == Some(&true)
            && let Some(place) = self.assumed.get_mut(block)
        {
            if place.is_none() {
                self.cells += state.cells().len();
            }
            let assumed = Assumed::begin(place, &mut state, &mut self.id);
            assumed.map_err(|broken| (broken, start))?;
        }
        if (self.image.is_interrupted)() {
            return Err((Rule::Interrupted.broken("interrupted"), start));
        }
        let mut walk = Walk {
            state,
            memory: self.image.memory,
            id: self.id,
            read: self.reads,
            is_called: self.span.is_called,
            function: self.index,
        };
        let next = self.graph.leaders.get(block + 1).copied();
        let mut at = start;
        loop {
            match self.instruction(&mut walk, at)? {
                None => break,
                Some(end) if Some(end) == next => {
                    let edge = self.edge(walk.state, end, &mut walk.id);
                    edge.map_err(|broken| (broken, at))?;
                    break;
                }
                Some(end) => at = end,
            }
        }
        (self.id, self.reads) = (walk.id, walk.read);
        Ok(())
    }

    /// Takes `steps` off the effort.
    fn work(&mut self, steps: usize) -> Proof<()> {
        let left = self.image.effort.checked_sub(steps as u64);
        let left = left.ok_or(Rule::Effort.broken("more to be done than its length allows"))?;
        self.image.effort = left;
        Ok(())
    }

    /// One instruction; where the next is, if control comes there.
    fn instruction(&mut self, walk: &mut Walk, at: u32) -> At<Option<u32>> {
        let refused = |broken| (broken, at);
        if at >= self.span.end {
            return Err(refused(
                Rule::Jump.broken("control leaves the function's end"),
            ));
        }
        let insn = decode(self.image.layout.from(at));
        let insn = insn.ok_or(refused(Rule::Decode.broken("no instruction that is known")))?;
        let end = at + insn.length;
        self.work(1).map_err(refused)?;
        walk.state.credit -= 1;
        let goes_on = match insn.op {
            Op::Go { flow, by, far } => {
                let outside = self.image.layout.outside(end, far);
                let to = end.wrapping_add_signed(by);
                match outside {
                    Some(callee) => self.outside(walk, flow, callee, end),
                    None => self.inside(walk, flow, at, to),
                }
            }
            op => walk.step(op).map(|()| true),
        };
        let goes_on = goes_on.map_err(refused)?;
        let is_paid = walk.state.credit >= 0;
        let more = "it runs further than it has paid for";
        Rule::Budget.demand(is_paid, more).map_err(refused)?;
        Ok(goes_on.then_some(end))
    }

    /// Goes to a function of the runtime; whether it comes back.
    fn outside(&mut self, walk: &mut Walk, way: Way, callee: Callee, end: u32) -> Proof<bool> {
        match (way, callee) {
            (Way::Call, Callee::Trap) => {
                walk.trap()?;
                let next = decode(self.image.layout.from(end)).map(|insn| insn.op);
                let is_stopped = end < self.span.end && next == Some(Op::Undefined);
                Rule::Call.demand(is_stopped, "no ud2 behind what does not come back")?;
                Ok(false)
            }
            (Way::Jump, Callee::Return) => walk.leave().map(|()| false),
            (Way::Call, Callee::Import(import)) => {
                let import = self.image.imports.get(import as usize).copied();
                let import = import.ok_or(Rule::Call.broken("a call of no import"))?;
                walk.state.credit -= CALL * RATE;
                walk.call_import(import)?;
                Ok(true)
            }
            _ => Rule::Call.refuse("a callee that is not reached this way"),
        }
    }

    /// Goes to a place of the text; whether control also comes behind the instruction.
    fn inside(&mut self, walk: &mut Walk, way: Way, at: u32, to: u32) -> Proof<bool> {
        match way {
            Way::Call => {
                walk.state.credit -= CALL * RATE;
                let call = walk.call_own(at, to)?;
                push(&mut self.image.calls, call)?;
                Ok(true)
            }
            Way::Jump => {
                let state = walk.state.copy()?;
                self.edge(state, to, &mut walk.id)?;
                Ok(false)
            }
            Way::Branch(condition) => self.branch(walk, condition, to),
        }
    }

    fn branch(&mut self, walk: &mut Walk, condition: Cc, to: u32) -> Proof<bool> {
        walk.flags()?;
        self.work(2 * walk.state.cells().len())?;
        if let Some(taken) = walk.taken(condition, RATE)? {
            self.edge(taken, to, &mut walk.id)?;
        }
        Ok(walk.state.assume(condition ^ 1, RATE))
    }

    /// `state` comes to the block at `to`.
    fn edge(&mut self, mut state: State, to: u32, id: &mut Id) -> Proof<()> {
        state.arrive();
        self.work(state.cells().len())?;
        let block = self.graph.block(to);
        let block = block.ok_or(Rule::Jump.broken("a jump to no block"))?;
        if let Some(Some(assumed)) = self.assumed.get_mut(block)
            && assumed.is_open()
        {
            return assumed.meet(&state);
        }
        let position = self.graph.position.get(block).copied().unwrap_or(0);
        let is_ahead = self.place < position;
        Rule::Effort.demand(is_ahead, "a way back to where nobody came")?;
        let Some(place) = self.incoming.get_mut(block) else {
            return Ok(());
        };
        match place {
            Some(known) => join(known, &state, id),
            None => {
                self.cells += state.cells().len();
                let fits = self.cells <= MOST_CELLS;
                Rule::Effort.demand(fits, "too many branches at once")?;
                *place = Some(state);
                Ok(())
            }
        }
    }
}

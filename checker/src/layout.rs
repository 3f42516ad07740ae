//! How a text is cut into functions, and what it calls.
//!
//! Functions begin with a mark for indirect calls, `endbr64`; filler may lie between them, and nothing else does. So each
//! byte of a text is filler, of a mark, or of one instruction of one function.

use alloc::vec::Vec;

use abi::native::{IMPORTS, Image, NONE, RETURN, TRAP};

use crate::decode::decode;
use crate::insn::{Flow, Op};
use crate::refusal::{Broken, NO_MEMORY, Refusal, Rule};

/// Marks where an indirect call may lead to.
const MARK: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
/// What lies between functions.
const FILLER: u8 = 0xcc;
/// Bytes of a displacement.
const DISPLACEMENT: u32 = 4;

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callee {
    Trap,
    Return,
    Import(u32),
}

/// One function, from behind its mark to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Functions of the text, or helpers, call it.
    pub(crate) is_called: bool,
    /// How many arguments the runtime calls it with, at least.
    pub(crate) given: Option<u8>,
}

/// What an image's tables and its text say together.
pub(crate) struct Layout<'a> {
    pub(crate) text: &'a [u8],
    pub(crate) functions: Vec<Span>,
    /// Where displacements to callees are, and whose, in order.
    calls: Vec<(u32, u32)>,
}

fn refused(rule: Rule, offset: u32, what: &'static str) -> Refusal {
    rule.broken(what).at(None, offset)
}

pub(crate) fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Broken> {
    list.try_reserve(1).map_err(|_| NO_MEMORY)?;
    list.push(item);
    Ok(())
}

impl<'a> Layout<'a> {
    pub(crate) fn read(image: &Image<'a>) -> Result<Self, Refusal> {
        let mut layout = Self {
            text: image.text,
            functions: Vec::new(),
            calls: sorted_calls(image)?,
        };
        let called = layout.cut()?;
        layout.called(&called)?;
        layout.entries(image)?;
        Ok(layout)
    }

    /// From `offset` on.
    pub(crate) fn from(&self, offset: u32) -> &'a [u8] {
        self.text.get(offset as usize..).unwrap_or_default()
    }

    /// Whose displacement lies at `offset`.
    pub(crate) fn callee(&self, offset: u32) -> Option<Callee> {
        let found = self.calls.binary_search_by_key(&offset, |call| call.0);
        let (_, callee) = self.calls.get(found.ok()?)?;
        Some(match *callee {
            TRAP => Callee::Trap,
            RETURN => Callee::Return,
            import => Callee::Import(import - IMPORTS),
        })
    }

    /// The callee that the instruction before `end` goes to.
    pub(crate) fn outside(&self, end: u32, far: bool) -> Option<Callee> {
        self.callee(end.checked_sub(DISPLACEMENT).filter(|_| far)?)
    }

    /// The number of the function that begins at `start`.
    pub(crate) fn function(&self, start: u32) -> Option<usize> {
        let found = self.functions.binary_search_by_key(&start, |f| f.start);
        found.ok()
    }

    /// Cuts the text; where its own functions are called: from, and to.
    fn cut(&mut self) -> Result<Vec<(u32, u32)>, Refusal> {
        let mut called = Vec::new();
        let mut outside = 0;
        let mut at = 0;
        let length = self.text.len() as u32;
        loop {
            let filler = self.from(at).iter().take_while(|byte| **byte == FILLER);
            at += filler.count() as u32;
            if at == length {
                break;
            }
            if !self.from(at).starts_with(MARK) {
                return Err(refused(Rule::Layout, at, "no function begins here"));
            }
            let start = at + MARK.len() as u32;
            at = self.function_end(start, &mut called, &mut outside)?;
            let span = Span {
                start,
                end: at,
                is_called: false,
                given: None,
            };
            push(&mut self.functions, span).map_err(|broken| broken.at(None, at))?;
        }
        if outside != self.calls.len() {
            return Err(refused(
                Rule::Call,
                0,
                "a callee's displacement is in no call",
            ));
        }
        Ok(called)
    }

    fn function_end(
        &self,
        start: u32,
        called: &mut Vec<(u32, u32)>,
        outside: &mut usize,
    ) -> Result<u32, Refusal> {
        let function = Some(self.functions.len() as u32);
        let mut at = start;
        loop {
            let rest = self.from(at);
            if rest.first().is_none_or(|byte| *byte == FILLER) || rest.starts_with(MARK) {
                return Ok(at);
            }
            let insn = decode(rest).ok_or(Rule::Decode.broken("no instruction that is known"));
            let insn = insn.map_err(|broken| broken.at(function, at))?;
            let end = at + insn.length;
            if let Op::Go { flow, by, far } = insn.op {
                match (self.outside(end, far), flow) {
                    (Some(_), Flow::Call | Flow::Jump) => *outside += 1,
                    (None, Flow::Call) => {
                        let to = end.wrapping_add_signed(by);
                        push(called, (at, to)).map_err(|broken| broken.at(function, at))?;
                    }
                    _ => {}
                }
            }
            at = end;
        }
    }

    /// Notes who is called by whom in the text.
    fn called(&mut self, called: &[(u32, u32)]) -> Result<(), Refusal> {
        for (at, to) in called {
            let function = self.function(*to);
            let function = function.and_then(|function| self.functions.get_mut(function));
            match function {
                Some(function) => function.is_called = true,
                None => return Err(refused(Rule::Call, *at, "a call of what is no function")),
            }
        }
        Ok(())
    }

    /// Notes who is called from outside, and with how much.
    fn entries(&mut self, image: &Image<'a>) -> Result<(), Refusal> {
        let programs = image.programs().map(|program| (program.entry, 1));
        let callbacks = image.callbacks().filter(|entry| *entry != NONE);
        let entries = programs.chain(callbacks.map(|entry| (entry, 5)));
        for (entry, given) in entries {
            let start = entry.checked_add(MARK.len() as u32);
            let function = start.and_then(|start| self.function(start));
            let Some(function) = function.and_then(|f| self.functions.get_mut(f)) else {
                return Err(refused(Rule::Layout, entry, "an entry that is no function"));
            };
            function.is_called |= given > 1;
            function.given = Some(function.given.map_or(given, |other| other.min(given)));
        }
        Ok(())
    }
}

fn sorted_calls(image: &Image<'_>) -> Result<Vec<(u32, u32)>, Refusal> {
    let mut calls = Vec::new();
    for call in image.calls() {
        push(&mut calls, call).map_err(|broken| broken.at(None, call.0))?;
    }
    calls.sort_unstable();
    let twice = calls.windows(2).find(|pair| match pair {
        [a, b] => a.0 == b.0,
        _ => false,
    });
    match twice.and_then(|pair| pair.first()) {
        Some((at, _)) => Err(refused(Rule::Call, *at, "two callees of one call")),
        None => Ok(calls),
    }
}

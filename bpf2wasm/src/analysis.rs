//! What is known about an object's functions before any is lowered.

use alloc::vec;
use alloc::vec::Vec;

use abi::layout::STACK_SIZE;

use crate::cfg::{Blocks, CallGraph, Structured, structure};
use crate::error::{Error, FlowError, ReferenceError, Result};
use crate::object::{Function, Object};
use crate::types::{
    Constants, Entry, Facts, Input, Live, Scope, Webs, check_places, constants, infer, live, webs,
};

/// What is known about one function.
pub(crate) struct Analysis {
    pub(crate) blocks: Blocks,
    pub(crate) structured: Structured,
    pub(crate) facts: Facts,
    pub(crate) constants: Constants,
    pub(crate) live: Live,
    pub(crate) webs: Webs,
    /// How many arguments a call passes.
    pub(crate) params: u32,
    /// Where its frame lies above `stack_base`.
    pub(crate) frame_at: u32,
    /// Site of its first instruction.
    pub(crate) site: u32,
}

/// What is known about all functions that programs reach.
pub(crate) struct Analysed {
    pub(crate) graph: CallGraph,
    /// By function; `None` if no program reaches it.
    pub(crate) functions: Vec<Option<Analysis>>,
    /// Bytes of stack the deepest call chain uses.
    pub(crate) stack: u32,
}

impl Analysed {
    /// Analyses `object`: pointer classes from callers to callees, liveness from callees to callers.
    pub(crate) fn new(object: &Object<'_>) -> Result<Self> {
        let graph = CallGraph::new(&object.functions)?;
        let mut known = forward(object, &graph)?;
        let frames: Vec<u32> = known
            .iter()
            .map(|k| k.as_ref().map_or(0, |(_, facts)| facts.frame))
            .collect();
        let (places, stack) = graph.place(&frames);
        if stack > STACK_SIZE {
            return Err(Error::new(FlowError::Stack(stack)));
        }
        let mut params = vec![0; known.len()];
        let mut functions: Vec<Option<Analysis>> = known.iter().map(|_| None).collect();
        for &index in graph.order.iter().rev() {
            let Some((blocks, facts)) = known[index].take() else {
                continue;
            };
            let function = &object.functions[index];
            let constants = constants(function, &blocks, &facts, &params);
            check_frame(function, &facts).map_err(|e| e.in_program(&function.name))?;
            check_places(function, &blocks, &constants, &object.maps)
                .map_err(|e| e.in_program(&function.name))?;
            let live = live(function, &blocks, &facts, &constants, &params);
            params[index] = if function.program.is_some() {
                1
            } else {
                live.params()
            };
            let webs = webs(&Input {
                function,
                blocks: &blocks,
                facts: &facts,
                constants: &constants,
                live: &live,
                params: &params,
            });
            functions[index] = Some(Analysis {
                structured: structure(&blocks),
                params: params[index],
                frame_at: places[index],
                site: 0,
                blocks,
                facts,
                constants,
                live,
                webs,
            });
        }
        let mut site = 0;
        for (analysis, function) in functions.iter_mut().zip(&object.functions) {
            if let Some(analysis) = analysis {
                analysis.site = site;
                site += function.slots;
            }
        }
        Ok(Analysed {
            graph,
            functions,
            stack,
        })
    }

    /// The functions that programs reach, by index.
    pub(crate) fn reached(&self) -> impl Iterator<Item = (usize, &Analysis)> {
        self.functions
            .iter()
            .enumerate()
            .filter_map(|(index, a)| Some((index, a.as_ref()?)))
    }

    /// Parameters of function `index` in wasm: a callback takes all five.
    pub(crate) fn wasm_params(&self, index: usize) -> u32 {
        let own = self.functions[index].as_ref().map_or(0, |a| a.params);
        if self.graph.callbacks[index].is_some() {
            5
        } else {
            own
        }
    }

    /// How many bytes of context function `root` and all it calls read; `None` if not known.
    pub(crate) fn context(&self, root: usize) -> Option<u32> {
        let reached = self
            .graph
            .reached(root)
            .into_iter()
            .filter_map(|f| self.functions[f].as_ref());
        reached
            .map(|a| a.facts.context)
            .try_fold(0, |most, bytes| Some(most.max(bytes?)))
    }
}

/// Refuses accesses at known places that leave the frame, as the verifier does.
fn check_frame(function: &Function, facts: &Facts) -> Result<()> {
    match facts.outside {
        None => Ok(()),
        Some((index, at, bytes)) => {
            let slot = function.insns[index].slot as usize;
            Err(Error::at(slot, ReferenceError::Frame(bytes, at)))
        }
    }
}

/// Blocks and pointer classes of every reachable function, callers first.
fn forward(object: &Object<'_>, graph: &CallGraph) -> Result<Vec<Option<(Blocks, Facts)>>> {
    let functions = &object.functions;
    let arrays = object.looked_up_arrays();
    let entry = |f: &crate::object::Function| {
        f.program
            .as_ref()
            .map_or(Entry::NONE, |p| Entry::program(Scope::of(p)))
    };
    let mut entries: Vec<Entry> = functions.iter().map(entry).collect();
    let mut known: Vec<Option<(Blocks, Facts)>> = functions.iter().map(|_| None).collect();
    for &index in &graph.order {
        let function = &functions[index];
        if let Some(error) = &function.broken {
            return Err(error.clone());
        }
        let blocks = Blocks::new(&function.insns).map_err(|e| e.in_program(&function.name))?;
        let facts = infer(function, &blocks, &entries[index], &arrays);
        for (callee, entry) in &facts.calls {
            entries[*callee].join(entry);
        }
        known[index] = Some((blocks, facts));
    }
    Ok(known)
}

//! The call graph: which functions are needed, in which order, and where their frames lie.
//!
//! Frames are placed statically, a callee's above its deepest caller's, so there can be no cycle of calls. The
//! address of a callback is an edge too, except where it closes a cycle: a timer callback that arms itself again
//! does not run inside itself.

use alloc::vec;
use alloc::vec::Vec;

use crate::error::{Error, FlowError, Result};
use crate::isa::insn::Ref;
use crate::isa::table::Shape;
use crate::object::Function;

/// The functions reachable from programs.
pub(crate) struct CallGraph {
    /// Callers before callees.
    pub(crate) order: Vec<usize>,
    /// By function, whom it calls or whose address it takes; cycles are cut.
    callees: Vec<Vec<usize>>,
    /// By function, its index in the callback table.
    pub(crate) callbacks: Vec<Option<u32>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

impl CallGraph {
    /// The call graph of an object.
    pub(crate) fn new(functions: &[Function]) -> Result<Self> {
        let mut graph = CallGraph {
            order: Vec::new(),
            callees: vec![Vec::new(); functions.len()],
            callbacks: vec![None; functions.len()],
        };
        let mut marks = vec![Mark::New; functions.len()];
        for (root, function) in functions.iter().enumerate() {
            if function.program.is_some() {
                graph.visit(functions, root, &mut marks)?;
            }
        }
        graph.order.reverse();
        let mut next = 1;
        for &function in &graph.order {
            for (callee, taken) in edges(&functions[function]) {
                if taken && graph.callbacks[callee].is_none() {
                    graph.callbacks[callee] = Some(next);
                    next += 1;
                }
            }
        }
        Ok(graph)
    }

    /// Depth-first, callees first.
    fn visit(&mut self, functions: &[Function], root: usize, marks: &mut [Mark]) -> Result<()> {
        let mut stack = vec![(root, false)];
        while let Some((function, finished)) = stack.pop() {
            if finished {
                marks[function] = Mark::Done;
                self.order.push(function);
                continue;
            }
            if marks[function] != Mark::New {
                continue;
            }
            marks[function] = Mark::Open;
            stack.push((function, true));
            for (callee, taken) in edges(&functions[function]) {
                match marks[callee] {
                    Mark::Open if taken => continue,
                    Mark::Open => {
                        let name = &functions[function].name;
                        return Err(Error::new(FlowError::Recursion).in_program(name));
                    }
                    _ => self.callees[function].push(callee),
                }
                stack.push((callee, false));
            }
        }
        Ok(())
    }

    /// By function, where its frame lies, given the frames' sizes; and the end of the highest.
    pub(crate) fn place(&self, sizes: &[u32]) -> (Vec<u32>, u32) {
        let mut places = vec![0u32; sizes.len()];
        let mut end = 0;
        for &function in &self.order {
            let top = places[function] + sizes[function];
            end = end.max(top);
            for &callee in &self.callees[function] {
                places[callee] = places[callee].max(top);
            }
        }
        (places, end)
    }

    /// The functions that run when `root` runs.
    pub(crate) fn reached(&self, root: usize) -> Vec<usize> {
        let mut seen = vec![false; self.callees.len()];
        let mut reached = vec![root];
        let mut next = 0;
        while let Some(&function) = reached.get(next) {
            next += 1;
            for &callee in &self.callees[function] {
                if !core::mem::replace(&mut seen[callee], true) {
                    reached.push(callee);
                }
            }
        }
        reached
    }
}

/// The functions that `function` refers to, and whether it takes their address.
fn edges(function: &Function) -> impl Iterator<Item = (usize, bool)> {
    function
        .insns
        .iter()
        .filter_map(|insn| match insn.reference {
            Some(Ref::Function(callee)) => {
                Some((callee, matches!(insn.row.shape, Shape::Constant)))
            }
            _ => None,
        })
}

//! Kernel stacks, which begin with frames of the runtime that took them: without these, they are equal.
//!
//! A program under native eBPF is called through JIT-compiled code and a trampoline, under the wasm runtime through
//! `wprobe.ko`. Numbers of stacks are hashes of all frames, so a number becomes what it stands for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::State;
use super::fields::{Field, Shape, join};
use crate::frames::Functions;
use crate::session::Elements;

/// A field that holds a stack, or the number of one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// The field: `counts.key.w_k_stack_id`, `hists.key.kern_stack`.
    pub field: String,
    /// The map that has the frames; none if the field itself holds them.
    #[serde(default)]
    pub map: Option<String>,
}

/// The kernel's functions, by address.
pub(super) struct Symbols {
    functions: Functions,
    /// What the numbers that stacks got stand for.
    names: RefCell<BTreeMap<u32, String>>,
    /// Whether a stack fell into a slot that another one has: its number is lost.
    collided: Cell<bool>,
}

/// `bpf_get_stackid()` for such a stack.
const EEXIST: i32 = -17;

impl Symbols {
    /// Reads them, with the programs and trampolines that are there now.
    pub(super) fn read() -> Result<Self> {
        Ok(Symbols {
            functions: Functions::read()?,
            names: RefCell::default(),
            collided: Cell::new(false),
        })
    }

    /// Whether a number of a stack was lost since the last call, on either side.
    pub(super) fn take_collided(&self) -> bool {
        self.collided.take()
    }

    /// The functions of a stack, outermost last, without what a runtime added at the inner end.
    fn frames(&self, stack: &[u8]) -> Vec<u64> {
        let words = words(stack);
        let mut frames = words[self.functions.of_runtime(&words)..].to_vec();
        // Where in the first function it was is up to the runtime.
        if let Some(first) = frames.first_mut() {
            *first = self.functions.at(*first).0;
        }
        frames
    }

    /// `elements` of map `name` with their stacks as what they stand for. `state` has the maps of frames.
    pub(super) fn resolved(
        &self,
        stacks: &[Stack],
        (name, key, value): (&str, &Shape, &Shape),
        elements: &Elements,
        state: &State,
    ) -> Elements {
        let element = |(k, v): &(Vec<u8>, Vec<u8>)| {
            let (mut k, mut v) = (k.clone(), v.clone());
            for stack in stacks {
                self.resolve(stack, &format!("{name}.key"), key, &mut k, state);
                self.resolve(stack, name, value, &mut v, state);
            }
            (k, v)
        };
        let mut elements: Elements = elements.iter().map(element).collect();
        elements.sort();
        elements
    }

    /// The stacks whose numbers occur in `text`, with their functions.
    pub(super) fn named_in(&self, text: &str) -> Vec<String> {
        let names = self.names.borrow();
        let words = text.split(|c: char| !c.is_ascii_digit());
        let numbers = words.filter_map(|word| word.parse::<u32>().ok());
        let named = numbers.filter_map(|number| Some(format!("{number}: {}", names.get(&number)?)));
        named.collect()
    }

    fn resolve(&self, stack: &Stack, name: &str, shape: &Shape, bytes: &mut [u8], state: &State) {
        let is_it = |field: &&Field| super::rules::is_about(&stack.field, &join(name, &field.path));
        let fields: Vec<_> = shape.fields.iter().filter(is_it).collect();
        let (Some(first), Some(last)) = (fields.first(), fields.last()) else {
            return;
        };
        let Some(place) = bytes.get_mut(first.at..last.at + last.size) else {
            return;
        };
        match &stack.map {
            None => {
                let frames = self.frames(place);
                place.fill(0);
                for (to, frame) in place.chunks_exact_mut(8).zip(frames) {
                    to.copy_from_slice(&frame.to_le_bytes());
                }
            }
            Some(_) if *place == EEXIST.to_le_bytes() => self.collided.set(true),
            Some(map) => {
                let found = state
                    .get(map)
                    .and_then(|map| map.iter().find(|(id, _)| id == place));
                if let Some((_, stack)) = found {
                    let frames = self.frames(stack);
                    let number = hash(&frames);
                    let names = || {
                        frames
                            .iter()
                            .map(|at| self.functions.at(*at).1)
                            .collect::<Vec<_>>()
                    };
                    let mut known = self.names.borrow_mut();
                    known.entry(number).or_insert_with(|| names().join(" < "));
                    place.copy_from_slice(&number.to_le_bytes()[..place.len().min(4)]);
                }
            }
        }
    }
}

fn words(stack: &[u8]) -> Vec<u64> {
    let words = stack.chunks_exact(8).map(|word| {
        let word = word.first_chunk().copied();
        word.map_or(0, u64::from_le_bytes)
    });
    words.take_while(|word| *word != 0).collect()
}

/// A number for a stack, the same under both runtimes; positive, as errors are not (FNV-1a).
fn hash(frames: &[u64]) -> u32 {
    let bytes = frames.iter().flat_map(|frame| frame.to_le_bytes());
    let hash = bytes.fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash >> 1
}

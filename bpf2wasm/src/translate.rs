//! The pipeline, from a parsed object to a module.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use abi::layout::STACK_SIZE;
use abi::manifest::Manifest;

use crate::cfg::{Blocks, CallGraph, Structured, structure};
use crate::emit::imports::{Functions, Globals};
use crate::emit::manifest;
use crate::emit::module::{Defined, Encoded, Parts, encode};
use crate::error::{Error, FlowError, ModuleError, Result};
use crate::lower::{Accesses, Input, Lowered, Shared, lower};
use crate::object::Object;
use crate::types::{Entry, Facts, Live, Scope, infer, live};
use crate::{Converted, Options, Summary, check};

/// What is known about a function before it is lowered.
struct Analysis {
    blocks: Blocks,
    structured: Structured,
    facts: Facts,
    live: Live,
}

/// Translates a parsed object.
pub(crate) fn translate(object: &Object<'_>, name: &str, options: &Options) -> Result<Converted> {
    let graph = CallGraph::new(&object.functions)?;
    let (analyses, params) = analyse(object, &graph)?;
    let frames: Vec<u32> = analyses
        .iter()
        .map(|a| a.as_ref().map_or(0, |a| a.facts.frame))
        .collect();
    let (places, stack) = graph.place(&frames);
    if stack > STACK_SIZE {
        return Err(Error::new(FlowError::Stack(stack)));
    }
    let globals = Globals::new(object);
    let shared = Shared {
        relocations: &object.relocations,
        globals: &globals,
        params: &params,
        callbacks: &graph.callbacks,
        stub_unknown_helpers: options.stub_unknown_helpers,
    };
    let mut lowered: Vec<(usize, Lowered)> = Vec::new();
    let mut sites = Vec::new();
    let mut site = 0;
    for (index, function) in object.functions.iter().enumerate() {
        let Some(analysis) = &analyses[index] else {
            continue;
        };
        let input = Input {
            function,
            blocks: &analysis.blocks,
            structured: &analysis.structured,
            facts: &analysis.facts,
            live: &analysis.live,
            params: wasm_params(&graph, &params, index),
            frame_at: places[index],
            site,
        };
        lowered.push((
            index,
            lower(&shared, &input).map_err(|e| e.in_program(&function.name))?,
        ));
        sites.push((index, site));
        site += function.slots;
    }
    let contexts = contexts(&graph, &analyses);
    let exports = manifest::exports(object);
    let manifest = manifest::build(object, name, &exports, &contexts, &sites, stack);
    let mut summary = summarize(object, &analyses, &lowered);
    let encoded = assemble(
        object, &manifest, &exports, &graph, &params, &globals, lowered,
    )?;
    check::check(&encoded.wasm)?;
    summary.code_bytes = encoded.code_bytes;
    summary.wasm_bytes = encoded.wasm.len();
    summary.imports = encoded.imports;
    Ok(Converted {
        wasm: encoded.wasm,
        manifest,
        summary,
    })
}

/// Parameters of the wasm function: a program takes its context, a callback all five.
fn wasm_params(graph: &CallGraph, params: &[u32], index: usize) -> u32 {
    if graph.callbacks[index].is_some() {
        5
    } else {
        params[index]
    }
}

/// Analyses every reachable function: pointer classes from callers to callees, liveness back.
fn analyse(object: &Object<'_>, graph: &CallGraph) -> Result<(Vec<Option<Analysis>>, Vec<u32>)> {
    let functions = &object.functions;
    let mut entries: Vec<Entry> = functions
        .iter()
        .map(|f| {
            f.program
                .as_ref()
                .map_or(Entry::NONE, |p| Entry::program(Scope::of(p)))
        })
        .collect();
    let mut known: Vec<Option<(Blocks, Facts)>> = functions.iter().map(|_| None).collect();
    for &index in &graph.order {
        let function = &functions[index];
        let blocks = Blocks::new(&function.insns).map_err(|e| e.in_program(&function.name))?;
        let facts = infer(function, &blocks, &entries[index]);
        for (callee, entry) in &facts.calls {
            entries[*callee].join(entry);
        }
        known[index] = Some((blocks, facts));
    }
    let mut params = vec![0; functions.len()];
    let mut analyses: Vec<Option<Analysis>> = functions.iter().map(|_| None).collect();
    for &index in graph.order.iter().rev() {
        let Some((blocks, facts)) = known[index].take() else {
            continue;
        };
        let live = live(&functions[index], &blocks, &facts.bases, &params);
        params[index] = if functions[index].program.is_some() {
            1
        } else {
            live.params()
        };
        let structured = structure(&blocks);
        analyses[index] = Some(Analysis {
            blocks,
            structured,
            facts,
            live,
        });
    }
    Ok((analyses, params))
}

/// By function, how many bytes of context it and all it calls read.
fn contexts(graph: &CallGraph, analyses: &[Option<Analysis>]) -> Vec<Option<u32>> {
    let own = |index: &usize| {
        analyses[*index]
            .as_ref()
            .map_or(Some(0), |a| a.facts.context)
    };
    (0..analyses.len())
        .map(|root| {
            let reached = graph.reached(root);
            reached
                .iter()
                .map(own)
                .try_fold(0, |most, bytes| Some(most.max(bytes?)))
        })
        .collect()
}

fn summarize(
    object: &Object<'_>,
    analyses: &[Option<Analysis>],
    lowered: &[(usize, Lowered)],
) -> Summary {
    let mut accesses = Accesses::default();
    let mut dispatch = Vec::new();
    for (index, function) in lowered {
        accesses.add(&function.accesses);
        if analyses[*index]
            .as_ref()
            .is_some_and(|a| a.structured.dispatch)
        {
            dispatch.push(object.functions[*index].name.clone());
        }
    }
    Summary {
        slots: lowered
            .iter()
            .map(|(i, _)| object.functions[*i].slots as usize)
            .sum(),
        isa: lowered
            .iter()
            .flat_map(|(i, _)| &object.functions[*i].insns)
            .map(|i| i.row.level)
            .max(),
        accesses,
        dispatch,
        ..Summary::default()
    }
}

fn assemble(
    object: &Object<'_>,
    manifest: &Manifest,
    exports: &[Option<String>],
    graph: &CallGraph,
    params: &[u32],
    globals: &Globals,
    lowered: Vec<(usize, Lowered)>,
) -> Result<Encoded> {
    let order: Vec<usize> = lowered.iter().map(|(index, _)| *index).collect();
    let callees = lowered.iter().flat_map(|(_, l)| l.body.callees());
    let functions = Functions::new(callees, &order, &object.externs);
    let mut defined = Vec::new();
    for (index, lowered) in lowered {
        let (code, _) = lowered
            .body
            .finish(&lowered.prologue, |callee| functions.index(callee));
        defined.push(Defined {
            name: &object.functions[index].name,
            params: wasm_params(graph, params, index),
            export: exports[index].as_deref(),
            callback: graph.callbacks[index],
            code,
        });
    }
    let json = serde_json::to_vec(manifest).map_err(|e| ModuleError::Manifest(e.to_string()))?;
    Ok(encode(&Parts {
        name: &manifest.object,
        globals,
        functions: &functions,
        defined: &defined,
        manifest: &json,
        btf: object.btf,
        data: &object.data,
    }))
}

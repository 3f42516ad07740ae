//! The pipeline, from a parsed object to a module.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use abi::manifest::Manifest;

use crate::analysis::Analysed;
use crate::emit::body::{Body, Callee, Code};
use crate::emit::imports::{Functions, Globals};
use crate::emit::module::{Defined, Encoded, Parts, encode};
use crate::emit::resized::{self, Resized};
use crate::emit::{lines, manifest};
use crate::error::{Error, ModuleError, Result};
use crate::isa::pairs;
use crate::lower::{Lowered, Shared, lower};
use crate::object::Object;
use crate::{Converted, Options, ProgramCheck, Span, Summary, check};

/// Translates a parsed object.
pub(crate) fn translate(
    object: &mut Object<'_>,
    name: &str,
    options: &Options,
) -> Result<Converted> {
    for function in &mut object.functions {
        pairs::join(&mut function.insns);
    }
    let object = &*object;
    let analysed = Analysed::new(object)?;
    let globals = Globals::new(object);
    let lowered = lower_all(object, &analysed, &globals, options)?;
    let exports = manifest::exports(object);
    let manifest = manifest::build(object, name, &exports, &analysed);
    let mut summary = summarize(object, &analysed, &lowered);
    let (encoded, spans) = assemble(object, &analysed, &globals, &manifest, &exports, lowered)?;
    check::check(&encoded.wasm)?;
    summary.code_bytes = encoded.code_bytes;
    summary.wasm_bytes = encoded.wasm.len();
    summary.imports = encoded.imports;
    Ok(Converted {
        wasm: encoded.wasm,
        manifest,
        spans,
        summary,
    })
}

/// Translates every program by itself, to see which can be.
pub(crate) fn each(object: &mut Object<'_>, name: &str, options: &Options) -> Vec<ProgramCheck> {
    let mut programs: Vec<_> = object
        .functions
        .iter_mut()
        .map(|f| f.program.take())
        .collect();
    let mut checks = Vec::new();
    for (index, program) in programs.iter_mut().enumerate() {
        let Some(program) = program.take() else {
            continue;
        };
        object.functions[index].program = Some(program);
        let result = translate(object, name, options).map(|c| c.summary);
        checks.push(ProgramCheck {
            program: object.functions[index].name.clone(),
            section: object.functions[index].section.clone(),
            result: result.map_err(|e| e.in_object(name)),
        });
        object.functions[index].program = None;
    }
    checks
}

/// Translates every reachable function, by increasing site.
fn lower_all(
    object: &Object<'_>,
    analysed: &Analysed,
    globals: &Globals,
    options: &Options,
) -> Result<Vec<(usize, Lowered)>> {
    let params: Vec<u32> = analysed
        .functions
        .iter()
        .map(|a| a.as_ref().map_or(0, |a| a.params))
        .collect();
    let shared = Shared {
        relocations: &object.relocations,
        globals,
        params: &params,
        callbacks: &analysed.graph.callbacks,
        stub_unknown_helpers: options.stub_unknown_helpers,
    };
    let one = |(index, analysis)| {
        let function = &object.functions[index];
        let lowered = lower(&shared, function, analysis, analysed.wasm_params(index));
        Ok((index, lowered.map_err(|e| e.in_program(&function.name))?))
    };
    analysed.reached().map(one).collect()
}

fn summarize(object: &Object<'_>, analysed: &Analysed, lowered: &[(usize, Lowered)]) -> Summary {
    let mut summary = Summary::default();
    for (index, lowered) in lowered {
        let function = &object.functions[*index];
        summary.slots += function.slots as usize;
        summary.accesses.add(&lowered.accesses);
        summary.isa = summary
            .isa
            .max(function.insns.iter().map(|i| i.row.level).max());
        if analysed.functions[*index]
            .as_ref()
            .is_some_and(|a| a.structured.dispatch)
        {
            summary.dispatch.push(function.name.clone());
        }
    }
    summary
}

fn assemble(
    object: &Object<'_>,
    analysed: &Analysed,
    globals: &Globals,
    manifest: &Manifest,
    exports: &[Option<String>],
    lowered: Vec<(usize, Lowered)>,
) -> Result<(Encoded, Vec<Span>)> {
    let callees = lowered.iter().flat_map(|(_, l)| l.body.callees());
    let added: Vec<(Resized, Body)> = resized::bodies(callees.clone());
    let callees = callees.chain(added.iter().flat_map(|(_, body)| body.callees()));
    let own = lowered.iter().map(|(index, _)| Callee::Local(*index));
    let own = own.chain(added.iter().map(|(kind, _)| Callee::Resized(*kind)));
    let functions = Functions::new(callees, own, &object.externs);
    let define = |(index, lowered): (usize, Lowered)| Defined {
        name: &object.functions[index].name,
        params: analysed.wasm_params(index),
        export: exports[index].as_deref(),
        callback: analysed.graph.callbacks[index],
        code: lowered
            .body
            .finish(&lowered.prologue, |callee| functions.index(callee)),
    };
    let add = |(kind, body): (Resized, Body)| Defined {
        name: kind.name(),
        params: kind.params(),
        export: None,
        callback: None,
        code: body.finish(&[], |callee| functions.index(callee)),
    };
    let defined = lowered.into_iter().map(define);
    let defined: Vec<Defined<'_>> = defined.chain(added.into_iter().map(add)).collect();
    let unwritable = |e: serde_json::Error| Error::new(ModuleError::Manifest(e.to_string()));
    let json = serde_json::to_vec(manifest).map_err(unwritable)?;
    let lines = lines::build(object, analysed);
    let lines = lines
        .map_or(Ok(Vec::new()), |l| serde_json::to_vec(&l))
        .map_err(unwritable)?;
    let events = match object.sent.is_empty() {
        true => Vec::new(),
        false => serde_json::to_vec(&object.sent).map_err(unwritable)?,
    };
    let encoded = encode(&Parts {
        name: &manifest.object,
        globals,
        functions: &functions,
        defined: &defined,
        manifest: &json,
        btf: object.btf,
        data: &object.data,
        lines: &lines,
        events: &events,
    });
    let mut spans = Vec::with_capacity(defined.iter().map(|d| d.code.marks.len()).sum());
    for ((d, start), (_, a)) in defined.iter().zip(&encoded.bodies).zip(analysed.reached()) {
        spans.extend(spans_of(&d.code, *start, a.site));
    }
    Ok((encoded, spans))
}

/// What each instruction of a function at `site` became, its body beginning at `start`. What comes before the first
/// instruction belongs to it.
fn spans_of(code: &Code, start: usize, site: u32) -> impl Iterator<Item = Span> {
    let marks = &code.marks;
    let begin = move |i: usize| match marks.get(i) {
        _ if i == 0 => start,
        Some((_, offset)) => start + offset,
        None => start + code.bytes.len(),
    };
    let spans = marks.iter().enumerate().map(move |(i, (slot, _))| Span {
        site: site + slot,
        bytes: begin(i)..begin(i + 1),
    });
    spans.filter(|span| !span.bytes.is_empty())
}

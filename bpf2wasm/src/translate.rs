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
use crate::error::{Error, ErrorKind, ModuleError, ObjectError, Result};
use crate::isa::pairs;
use crate::licence;
use crate::lower::{Lowered, Shared, lower};
use crate::object::{Function, Object};
use crate::session;
use crate::{Converted, ProgramCheck, Span, Summary, check, lacking};

/// Translates a parsed object: all programs that can be.
pub(crate) fn translate(object: &mut Object<'_>, name: &str) -> Result<Converted> {
    for function in &mut object.functions {
        pairs::join(&mut function.insns);
    }
    // Most objects have no program that cannot be translated, so nothing is tried twice.
    let error = match whole(object, name) {
        Ok(converted) => return Ok(converted),
        Err(error) => error,
    };
    let mut refusals = Vec::new();
    one_by_one(object, |object, index| {
        refusals.extend(whole(object, name).err().map(|e| (index, e)));
    });
    if refusals.is_empty() {
        return Err(error);
    }
    for (index, error) in refusals {
        object.functions[index].refuse(error);
    }
    whole(object, name)
}

/// Translates all programs there are; the reason if one cannot be, or if there were some and all are refused.
fn whole(object: &Object<'_>, name: &str) -> Result<Converted> {
    let is_translated = |f: &Function| f.program.is_some();
    // That a person left a program out is the reason only where there is no other.
    let refused = object.functions.iter().filter_map(|f| f.refused.as_ref());
    if let Some(error) = refused.min_by_key(|error| is_left_out(error))
        && !object.functions.iter().any(is_translated)
    {
        return Err(error.clone());
    }
    let analysed = Analysed::new(object)?;
    licence::check(object, &analysed)?;
    session::check(object, &analysed)?;
    let globals = Globals::new(object);
    let lowered = lower_all(object, &analysed, &globals)?;
    let exports = manifest::exports(object);
    let manifest = manifest::build(object, name, &exports, Some((&analysed, &lowered)));
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

/// A module that describes the object, and has no code: every program that a kernel may take, whether it can be translated or not.
pub(crate) fn describe(object: &Object<'_>, name: &str) -> Result<Vec<u8>> {
    let exports = manifest::exports(object);
    let manifest = manifest::build(object, name, &exports, None);
    let unwritable = |e: serde_json::Error| Error::new(ModuleError::Manifest(e.to_string()));
    let json = serde_json::to_vec(&manifest).map_err(unwritable)?;
    let events = match object.sent.is_empty() {
        true => Vec::new(),
        false => serde_json::to_vec(&object.sent).map_err(unwritable)?,
    };
    let encoded = encode(&Parts {
        name: &manifest.object,
        globals: &Globals::none(),
        functions: &Functions::new([].into_iter(), [].into_iter(), &[]),
        defined: &[],
        manifest: &json,
        events: &events,
        license: object.license.as_bytes(),
        btf: object.btf,
        data: &object.data,
        lines: &[],
    });
    Ok(encoded.wasm)
}

/// Calls `f` with the object as if each program were the only one, and the program's index.
fn one_by_one(object: &mut Object<'_>, mut f: impl FnMut(&Object<'_>, usize)) {
    let programs = object.functions.iter_mut().map(|f| f.program.take());
    let programs: Vec<_> = programs.collect();
    let count = programs.len();
    let mut waiting = programs.into_iter();
    let mut done = Vec::with_capacity(count);
    for index in 0..count {
        let program = waiting.next().flatten();
        let is_program = program.is_some();
        object.functions[index].program = program;
        if is_program {
            f(object, index);
        }
        done.push(object.functions[index].program.take());
    }
    for (function, program) in object.functions.iter_mut().zip(done) {
        function.program = program;
    }
}

/// The verdict on every program that is not left out, in the object's order.
pub(crate) fn each(object: &mut Object<'_>, name: &str) -> Vec<ProgramCheck> {
    for function in &mut object.functions {
        pairs::join(&mut function.insns);
    }
    let functions = object.functions.iter();
    let mut checks: Vec<Option<ProgramCheck>> = functions.map(|f| refused(f, name)).collect();
    one_by_one(object, |object, index| {
        let converted = whole(object, name).map_err(|e| e.in_object(name));
        let function = &object.functions[index];
        let program = converted.as_ref().ok();
        let program = program.and_then(|c| Some((c, c.manifest.programs.first()?)));
        checks[index] = Some(ProgramCheck {
            program: function.name.clone(),
            section: function.section.clone(),
            lacks: program.map_or_else(Vec::new, |(c, p)| lacking(&c.wasm, p)),
            maps: program.map_or_else(Vec::new, |(c, p)| c.manifest.lacking_maps(p)),
            result: converted.map(|c| c.summary),
        });
    });
    checks.into_iter().flatten().collect()
}

fn is_left_out(error: &Error) -> bool {
    error.kind == ErrorKind::Object(ObjectError::LeftOut)
}

/// The verdict on a program that is refused before it is looked at.
fn refused(function: &Function, name: &str) -> Option<ProgramCheck> {
    let error = function.refused.as_ref()?;
    (!is_left_out(error)).then(|| ProgramCheck {
        program: function.name.clone(),
        section: function.section.clone(),
        result: Err(error.clone().in_object(name)),
        lacks: Vec::new(),
        maps: Vec::new(),
    })
}

/// Translates every reachable function, by increasing site.
fn lower_all(
    object: &Object<'_>,
    analysed: &Analysed,
    globals: &Globals,
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
        externs: &object.externs,
    };
    let one = |(index, analysis)| {
        let function = &object.functions[index];
        let lowered = lower(&shared, function, analysis, analysed.wasm_params(index));
        Ok((index, lowered.map_err(|e| e.in_program(&function.name))?))
    };
    analysed.reached().map(one).collect()
}

fn summarize(object: &Object<'_>, analysed: &Analysed, lowered: &[(usize, Lowered)]) -> Summary {
    let mut summary = Summary {
        left_out: object.left_out.iter().map(ToString::to_string).collect(),
        ..Summary::default()
    };
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
        license: object.license.as_bytes(),
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

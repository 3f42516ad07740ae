//! From the IR to text, and from texts to an image.

use abi::native::{DIGEST, FRAME, MAGIC, NONE, VERSION};
use cranelift_codegen::Context;
use cranelift_codegen::FinalizedRelocTarget;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, UserFuncName};
use cranelift_codegen::isa::{self, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable, Flags};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use sha2::{Digest, Sha256};
use target_lexicon::triple;

use super::Error;
use super::calls::{OWN, RUNTIME};
use super::function::{signature, translate};
use super::module::Module;

/// Marks where an indirect call may lead to, for CPUs that check that. Every function begins with it.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
/// What lies between functions traps.
const FILLER: u8 = 0xcc;
/// Functions begin, behind their mark, at multiples of this.
const ALIGNMENT: usize = 16;

/// Settings of the compiler, beyond the defaults of the plainest x86-64.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("opt_level", "speed"),
    // Jumping to the kernel's return needs them, and so does the kernel's unwinder.
    ("preserve_frame_pointers", "true"),
    ("unwind_info", "false"),
    ("enable_probestack", "false"),
];

fn target() -> Result<OwnedTargetIsa, Error> {
    let refused = |e: &dyn std::fmt::Display| Error::Compiler(e.to_string());
    let mut flags = settings::builder();
    for (name, value) in SETTINGS {
        flags.set(name, value).map_err(|e| refused(&e))?;
    }
    let isa = isa::lookup(triple!("x86_64-unknown-none-elf")).map_err(|e| refused(&e))?;
    isa.finish(Flags::new(flags)).map_err(|e| refused(&e))
}

/// Text under construction.
#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    /// Where each own function begins, behind its mark.
    starts: Vec<u32>,
    /// How many bytes of its context each reads.
    contexts: Vec<u32>,
    /// Displacements to own functions: where, which.
    own: Vec<(u32, u32)>,
    /// Displacements to callees of the image: where, which.
    calls: Vec<(u32, u32)>,
}

/// Compiles all functions of `module`, which was `wasm`; the image.
pub(super) fn link(wasm: &[u8], module: &Module<'_>) -> Result<Vec<u8>, Error> {
    let isa = target()?;
    let mut text = Text::default();
    let mut builder = FunctionBuilderContext::new();
    let imports = module.imports.len() as u32;
    for (index, body) in (imports..).zip(&module.bodies) {
        let mut context = Context::new();
        context.func.name = UserFuncName::user(OWN, index);
        context.func.signature = signature(module.type_of(index))?;
        let b = FunctionBuilder::new(&mut context.func, &mut builder);
        text.contexts.push(translate(module, index, body, b)?);
        let code = context
            .compile(&*isa, &mut ControlPlane::default())
            .map_err(|e| Error::Compiler(format!("function {index}: {:?}", e.inner)))?;
        let frame = code
            .buffer
            .frame_layout()
            .map_or(0, |f| f.frame_to_fp_offset);
        if frame > FRAME {
            let why = format!("function {index} needs {frame} bytes of stack, {FRAME} is the most");
            return Err(Error::TooLarge(why));
        }
        let relocations: Vec<_> = code.buffer.relocs().to_vec();
        text.append(code.code_buffer());
        let start = text.starts[text.starts.len() - 1];
        for relocation in relocations {
            let at = start + relocation.offset;
            let (namespace, callee) = name(&context.func, &relocation.target)?;
            if relocation.kind != Reloc::X86CallPCRel4 || relocation.addend != -4 {
                return Err(Error::Compiler(format!("relocation {:?}", relocation.kind)));
            }
            match namespace {
                RUNTIME => text.calls.push((at, callee)),
                _ => text.own.push((at, callee - imports)),
            }
        }
    }
    text.resolve();
    Ok(image(wasm, module, &text))
}

/// Whom a relocation is about: namespace and index.
fn name(
    function: &cranelift_codegen::ir::Function,
    target: &FinalizedRelocTarget,
) -> Result<(u32, u32), Error> {
    match target {
        FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
            let name = &function.params.user_named_funcs()[*name];
            Ok((name.namespace, name.index))
        }
        other => Err(Error::Compiler(format!("relocation to {other:?}"))),
    }
}

impl Text {
    fn append(&mut self, code: &[u8]) {
        let start = (self.bytes.len() + ENDBR64.len()).next_multiple_of(ALIGNMENT);
        self.bytes.resize(start - ENDBR64.len(), FILLER);
        self.bytes.extend(ENDBR64);
        self.bytes.extend(code);
        self.starts.push(start as u32);
    }

    /// Writes the displacements to own functions.
    fn resolve(&mut self) {
        for (at, callee) in &self.own {
            let to = self.starts[*callee as usize];
            let distance = to.wrapping_sub(at + 4).to_le_bytes();
            self.bytes[*at as usize..*at as usize + 4].copy_from_slice(&distance);
        }
    }

    /// Where a function is entered from outside.
    fn entry(&self, index: u32) -> u32 {
        self.starts[index as usize] - ENDBR64.len() as u32
    }
}

fn number(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend((number as u32).to_le_bytes());
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    number(bytes, text.len());
    bytes.extend(text.as_bytes());
}

fn image(wasm: &[u8], module: &Module<'_>, code: &Text) -> Vec<u8> {
    let imports = module.imports.len() as u32;
    let mut body = Vec::new();
    number(&mut body, module.imports.len());
    for (index, import) in (0..).zip(&module.imports) {
        number(&mut body, module.type_of(index).params().len());
        text(&mut body, import.module);
        text(&mut body, import.name);
    }
    // An import that is exported again is nobody's program.
    let own = |function: u32| function.checked_sub(imports);
    let programs = || {
        let takes_context = |function: u32| is_program(module, function);
        let programs = module.programs.iter();
        programs.filter_map(move |(name, f)| Some((name, own(*f).filter(|_| takes_context(*f))?)))
    };
    number(&mut body, programs().count());
    for (name, function) in programs() {
        number(&mut body, code.entry(function) as usize);
        number(&mut body, code.contexts[function as usize] as usize);
        text(&mut body, name);
    }
    number(&mut body, module.callbacks.len());
    for callback in &module.callbacks {
        let callback = callback.filter(|function| is_callback(module, *function));
        let entry = callback.and_then(own).map_or(NONE, |f| code.entry(f));
        number(&mut body, entry as usize);
    }
    number(&mut body, code.calls.len());
    for (at, callee) in &code.calls {
        number(&mut body, *at as usize);
        number(&mut body, *callee as usize);
    }
    number(&mut body, code.bytes.len());
    body.extend(&code.bytes);
    let mut bytes = Vec::from(MAGIC);
    number(&mut bytes, VERSION as usize);
    number(&mut bytes, module.memory as usize);
    let digest: [u8; DIGEST] = Sha256::digest(wasm).into();
    bytes.extend(digest);
    let checksum: [u8; DIGEST] = Sha256::digest(&body).into();
    bytes.extend(checksum);
    bytes.extend(body);
    bytes
}

/// Whether a hit can call a function: a pointer to its context in, `r0` out.
fn is_program(module: &Module<'_>, function: u32) -> bool {
    let ty = module.type_of(function);
    ty.params() == [wasmparser::ValType::I64] && ty.results() == [wasmparser::ValType::I64]
}

/// Whether helpers can call a function.
fn is_callback(module: &Module<'_>, function: u32) -> bool {
    let ty = module.type_of(function);
    ty.params() == [wasmparser::ValType::I64; 5] && ty.results() == [wasmparser::ValType::I64]
}

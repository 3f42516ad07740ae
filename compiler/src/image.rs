//! From functions to an image ([`abi::native`]).

use alloc::vec::Vec;

use abi::native::{DIGEST, HEADER, MAGIC, NONE, VERSION};

use crate::arena::{Arena, List};
use crate::module::{Import, Module};
use crate::{Made, Refused};

/// Marks where an indirect call may lead to, for CPUs that check that. Every function begins with it.
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
/// What lies between functions traps.
const FILLER: u8 = 0xcc;
/// Functions begin, behind their mark, at multiples of this.
const ALIGNMENT: usize = 16;

/// Text under construction.
pub(crate) struct Text<'m> {
    bytes: List<'m, u8>,
    /// Where each function begins, behind its mark, and how many bytes of its context it reads.
    functions: List<'m, (u32, u32)>,
    /// Displacements to functions of the module: where, which.
    own: List<'m, (u32, u32)>,
    /// Displacements to callees of the image: where, which.
    calls: List<'m, (u32, u32)>,
}

impl<'m> Text<'m> {
    pub(crate) fn new(arena: &'m Arena<'m>) -> Self {
        Self {
            bytes: List::new(arena),
            functions: List::new(arena),
            own: List::new(arena),
            calls: List::new(arena),
        }
    }

    /// The code of the next function, and where it calls whom.
    pub(crate) fn append(
        &mut self,
        code: &[u8],
        context: u32,
        calls: &[(u32, u32)],
        own: &[(u32, u32)],
    ) {
        let start = (self.bytes.len() + ENDBR64.len()).next_multiple_of(ALIGNMENT);
        for _ in self.bytes.len() + ENDBR64.len()..start {
            self.bytes.push(FILLER);
        }
        self.bytes.extend(&ENDBR64);
        self.bytes.extend(code);
        let start = start as u32;
        self.functions.push((start, context));
        for (at, callee) in calls {
            self.calls.push((start + at, *callee));
        }
        for (at, callee) in own {
            self.own.push((start + at, *callee));
        }
    }

    /// Writes the displacements to functions of the module.
    fn resolve(&mut self) -> Made<()> {
        for (at, callee) in self.own.iter() {
            let lost = || Refused::Compiler("functions");
            let (to, _) = self.functions.get(*callee as usize).ok_or_else(lost)?;
            let distance = to.wrapping_sub(at + 4).to_le_bytes();
            let at = *at as usize;
            let place = self.bytes.get_mut(at..at + distance.len());
            place.ok_or_else(lost)?.copy_from_slice(&distance);
        }
        Ok(())
    }

    /// Where function `index` is entered from outside, and how many bytes of its context it reads.
    fn entry(&self, index: u32) -> Made<(u32, u32)> {
        let (start, context) = *self
            .functions
            .get(index as usize)
            .ok_or(Refused::Compiler("functions"))?;
        Ok((start - ENDBR64.len() as u32, context))
    }
}

/// Bytes of an image: counted first, then written.
trait Sink {
    fn bytes(&mut self, bytes: &[u8]);

    fn number(&mut self, number: u32) {
        self.bytes(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u32);
        self.bytes(text.as_bytes());
    }
}

struct Count(usize);

impl Sink for Count {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// It has room for what is written to it.
impl Sink for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The image of `module`, which was `wasm`.
pub(crate) fn image(
    wasm: &[u8],
    module: &Module<'_, '_>,
    text: &mut Text<'_>,
    digest: impl Fn(&[u8]) -> [u8; DIGEST],
) -> Made<Vec<u8>> {
    text.resolve()?;
    let mut size = Count(HEADER);
    body(&mut size, module, text)?;
    let Count(size) = size;
    let mut image: Vec<u8> = Vec::new();
    let room = size.checked_add(HEADER).ok_or(Refused::Memory)?;
    image.try_reserve_exact(room).map_err(|_| Refused::Memory)?;
    image.bytes(&MAGIC);
    image.number(VERSION);
    image.number(module.memory);
    image.bytes(&digest(wasm));
    let checksum_at = image.len();
    image.bytes(&[0; DIGEST]);
    body(&mut image, module, text)?;
    let checksum = digest(image.get(HEADER..).unwrap_or_default());
    if let Some(place) = image.get_mut(checksum_at..HEADER) {
        place.copy_from_slice(&checksum);
    }
    Ok(image)
}

fn body(to: &mut impl Sink, module: &Module<'_, '_>, text: &Text<'_>) -> Made<()> {
    to.number(module.imports.len() as u32);
    for Import {
        module,
        name,
        signature,
        ..
    } in module.imports.iter()
    {
        to.number(signature.params() as u32);
        to.text(module);
        to.text(name);
    }
    let imports = module.imports.len() as u32;
    // An import that is exported again is nobody's program.
    let own = |function: u32| function.checked_sub(imports);
    let takes_context = |function: u32| module.signature(function).is_ok_and(|s| s.is_program());
    let programs = || {
        let exports = module.exports.iter();
        let programs = exports.filter(move |(_, function)| takes_context(*function));
        programs.filter_map(move |(name, function)| Some((name, own(*function)?)))
    };
    to.number(programs().count() as u32);
    for (name, function) in programs() {
        let (entry, context) = text.entry(function)?;
        to.number(entry);
        to.number(context);
        to.text(name);
    }
    to.number(module.callbacks.len() as u32);
    for function in module.callbacks.iter() {
        let is_callback = module.signature(*function).is_ok_and(|s| s.is_callback());
        let callback = own(*function).filter(|_| *function != NONE && is_callback);
        let entry = callback.map(|function| text.entry(function)).transpose()?;
        to.number(entry.map_or(NONE, |(entry, _)| entry));
    }
    to.number(text.calls.len() as u32);
    for (at, callee) in text.calls.iter() {
        to.number(*at);
        to.number(*callee);
    }
    to.number(text.bytes.len() as u32);
    to.bytes(&text.bytes);
    Ok(())
}

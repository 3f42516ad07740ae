//! Builds BTF, type by type: for [`crate::layout`], [`crate::debug_types`], and tests.

use bpf2wasm::btf::Btf;

/// `BTF_KIND_*` of the kinds that have no method of their own here.
pub(crate) const CONST: u32 = 10;
pub(crate) const TYPEDEF: u32 = 8;
pub(crate) const VOLATILE: u32 = 9;
pub(crate) const RESTRICT: u32 = 11;
pub(crate) const UNION: u32 = 5;
pub(crate) const STRUCT: u32 = 4;
/// A record's `kind_flag`.
const FLAG: u32 = 1 << 31;

/// Types so far; the first added has id 1.
#[derive(Default)]
pub(crate) struct Builder {
    types: Vec<u32>,
    strings: Vec<u8>,
    count: u32,
    /// Bytes of the base's strings; 0 where there is no base.
    first_string: u32,
}

impl Builder {
    /// A module's, whose ids go on where those of `base` end.
    #[cfg(test)]
    pub(crate) fn over(base: &Builder) -> Self {
        Builder {
            count: base.count,
            first_string: base.strings.len() as u32,
            ..Builder::default()
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if self.strings.is_empty() && self.first_string == 0 {
            self.strings.push(0);
        }
        if name.is_empty() {
            return 0;
        }
        let at = self.first_string + self.strings.len() as u32;
        self.strings.extend(name.bytes().chain([0]));
        at
    }

    /// Any type: kind, `kind_flag`, count, size or type, and what follows.
    fn add(&mut self, name: &str, info: u32, size_or_type: u32, tail: &[u32]) -> u32 {
        let name = self.name(name);
        self.types.extend([name, info, size_or_type]);
        self.types.extend(tail);
        self.count += 1;
        self.count
    }

    /// An integer of `size` bytes.
    pub(crate) fn int(&mut self, name: &str, size: u32, signed: bool) -> u32 {
        self.integer(name, size, u32::from(signed))
    }

    pub(crate) fn boolean(&mut self, name: &str, size: u32) -> u32 {
        self.integer(name, size, 4)
    }

    fn integer(&mut self, name: &str, size: u32, encoding: u32) -> u32 {
        self.add(name, 1 << 24, size, &[encoding << 24 | (size * 8)])
    }

    pub(crate) fn float(&mut self, name: &str, size: u32) -> u32 {
        self.add(name, 16 << 24, size, &[])
    }

    /// A struct or union that is only declared.
    pub(crate) fn declaration(&mut self, name: &str, is_union: bool) -> u32 {
        self.add(name, 7 << 24 | if is_union { FLAG } else { 0 }, 0, &[])
    }

    /// A function with a prototype.
    pub(crate) fn function(&mut self, name: &str, prototype: u32) -> u32 {
        self.add(name, 12 << 24, prototype, &[])
    }

    pub(crate) fn pointer(&mut self, to: u32) -> u32 {
        self.add("", 2 << 24, to, &[])
    }

    pub(crate) fn array(&mut self, element: u32, count: u32) -> u32 {
        self.add("", 3 << 24, 0, &[element, 1, count])
    }

    /// A typedef or qualifier.
    pub(crate) fn alias(&mut self, kind: u32, name: &str, to: u32) -> u32 {
        self.add(name, kind << 24, to, &[])
    }

    /// A function's: the type of its result, and those of its parameters.
    pub(crate) fn prototype(&mut self, result: u32, params: &[u32]) -> u32 {
        let tail: Vec<_> = params.iter().flat_map(|ty| [0, *ty]).collect();
        self.add("", 13 << 24 | params.len() as u32, result, &tail)
    }

    /// Members are name, type, bit offset.
    pub(crate) fn structure(&mut self, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        self.composite(STRUCT, name, size, members)
    }

    pub(crate) fn composite(
        &mut self,
        kind: u32,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        let tail = members
            .iter()
            .flat_map(|(name, ty, at)| [self.name(name), *ty, *at]);
        let tail: Vec<_> = tail.collect();
        self.add(name, kind << 24 | members.len() as u32, size, &tail)
    }

    /// One that has bit-fields: name, type, bit offset, bits, of which others have 0.
    pub(crate) fn bitfields(
        &mut self,
        kind: u32,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32, u32)],
    ) -> u32 {
        let word = |at: u32, bits: u32| bits << 24 | at;
        let tail = members
            .iter()
            .flat_map(|(n, ty, at, bits)| [self.name(n), *ty, word(*at, *bits)]);
        let tail: Vec<_> = tail.collect();
        self.add(name, FLAG | kind << 24 | members.len() as u32, size, &tail)
    }

    /// An enumeration, signed if a value is.
    pub(crate) fn enumeration(&mut self, name: &str, size: u32, values: &[(&str, i64)]) -> u32 {
        let is_wide = size == 8;
        let mut tail = Vec::new();
        for (name, value) in values {
            tail.extend([self.name(name), *value as u32]);
            tail.extend(is_wide.then_some((*value >> 32) as u32));
        }
        let kind = if is_wide { 19 } else { 6 };
        let is_signed = values.iter().any(|(_, value)| *value < 0);
        let flag = if is_signed { FLAG } else { 0 };
        self.add(name, flag | kind << 24 | values.len() as u32, size, &tail)
    }

    pub(crate) fn build(self) -> Btf {
        Btf::parse(&self.bytes()).expect("a valid header and whole records")
    }

    /// In the file format.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let types: Vec<u8> = self.types.iter().flat_map(|w| w.to_le_bytes()).collect();
        let (t, s) = (types.len() as u32, self.strings.len() as u32);
        let mut data = vec![0x9f, 0xeb, 1, 0];
        data.extend([24, 0, t, t, s].iter().flat_map(|w: &u32| w.to_le_bytes()));
        data.extend(types);
        data.extend(self.strings);
        data
    }
}

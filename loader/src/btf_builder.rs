//! Builds BTF, type by type: for [`crate::layout`], and for tests.

use bpf2wasm::btf::Btf;

/// `BTF_KIND_*` of the kinds that have no method of their own here.
#[cfg(test)]
pub(crate) const CONST: u32 = 10;
#[cfg(test)]
pub(crate) const TYPEDEF: u32 = 8;
pub(crate) const UNION: u32 = 5;
const STRUCT: u32 = 4;

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
        self.add(
            name,
            1 << 24,
            size,
            &[(u32::from(signed) << 24) | (size * 8)],
        )
    }

    #[cfg(test)]
    pub(crate) fn pointer(&mut self, to: u32) -> u32 {
        self.add("", 2 << 24, to, &[])
    }

    pub(crate) fn array(&mut self, element: u32, count: u32) -> u32 {
        self.add("", 3 << 24, 0, &[element, 1, count])
    }

    #[cfg(test)]
    /// A typedef or qualifier.
    pub(crate) fn alias(&mut self, kind: u32, name: &str, to: u32) -> u32 {
        self.add(name, kind << 24, to, &[])
    }

    #[cfg(test)]
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

    #[cfg(test)]
    /// A struct of bit-fields: name, type, bit offset, bits.
    pub(crate) fn bitfields(
        &mut self,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32, u32)],
    ) -> u32 {
        let word = |at: u32, bits: u32| bits << 24 | at;
        let tail = members
            .iter()
            .flat_map(|(n, ty, at, bits)| [self.name(n), *ty, word(*at, *bits)]);
        let tail: Vec<_> = tail.collect();
        self.add(
            name,
            1 << 31 | STRUCT << 24 | members.len() as u32,
            size,
            &tail,
        )
    }

    #[cfg(test)]
    /// A 32-bit enumeration.
    pub(crate) fn enumeration(&mut self, name: &str, values: &[(&str, u32)]) -> u32 {
        let tail: Vec<_> = values
            .iter()
            .flat_map(|(n, value)| [self.name(n), *value])
            .collect();
        self.add(name, 6 << 24 | values.len() as u32, 4, &tail)
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

//! A type and what follows its record: members, enumerators, parameters, variables.

use core::fmt;

use super::{Btf, Kind};

/// One type.
#[derive(Clone, Copy)]
pub struct Type<'a> {
    pub(super) btf: &'a Btf,
    /// Its id.
    pub id: u32,
    /// Its name; empty if anonymous.
    pub name: &'a str,
    /// Its kind.
    pub kind: Kind,
    /// `kind_flag`: bit-field members, signed enumerators, or a forward-declared union.
    pub flag: bool,
    /// The size in bytes, or the type id it refers to; see [`Type::size`] and [`Type::target`].
    pub(super) raw: u32,
    pub(super) vlen: usize,
    pub(super) tail: usize,
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// Its name; empty if anonymous.
    pub name: &'a str,
    /// Its type.
    pub type_id: u32,
    /// Bits from the start of the struct.
    pub bit_offset: u32,
    /// Its width in bits if it is a bit-field declared as such, else 0.
    pub bit_size: u32,
}

/// An enumerator.
#[derive(Clone, Copy, Debug)]
pub struct Enumerator<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value, sign- or zero-extended as the enumeration is signed or not.
    pub value: u64,
}

/// A parameter of a prototype.
#[derive(Clone, Copy, Debug)]
pub struct Param<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type; 0 stands for `...`.
    pub type_id: u32,
}

/// A variable of a data section.
#[derive(Clone, Copy, Debug)]
pub struct Var {
    /// The `VAR` (or, in `.ksyms`, `FUNC`).
    pub type_id: u32,
    /// Bytes from the section's start; clang leaves 0.
    pub offset: u32,
    /// Its size; clang leaves 0.
    pub size: u32,
}

/// The bounds of an array type.
#[derive(Clone, Copy, Debug)]
pub struct Array {
    /// Type of an element.
    pub element: u32,
    /// Type of the index.
    pub index: u32,
    /// How many elements; 0 for a flexible array.
    pub count: u32,
}

impl fmt::Debug for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {:?} {:?}", self.id, self.kind, self.name)
    }
}

impl<'a> Type<'a> {
    /// The size in bytes of a type that has one of its own.
    pub fn size(&self) -> Option<u32> {
        use Kind::{Datasec, Enum, Enum64, Float, Int, Ptr, Struct, Union};
        match self.kind {
            Ptr => Some(8),
            Int | Struct | Union | Enum | Enum64 | Float | Datasec => Some(self.raw),
            _ => None,
        }
    }

    /// The type id that a pointer, typedef, qualifier, function, prototype (its result) or variable refers to.
    pub fn target(&self) -> Option<u32> {
        self.size()
            .is_none_or(|_| self.kind == Kind::Ptr)
            .then_some(self.raw)
    }

    /// Whether an integer or an enumeration is signed.
    pub fn is_signed(&self) -> bool {
        match self.kind {
            Kind::Int => self.word(0) >> 24 & 1 != 0,
            Kind::Enum | Kind::Enum64 => self.flag,
            _ => false,
        }
    }

    /// Whether an integer is a `bool`.
    pub fn is_bool(&self) -> bool {
        self.kind == Kind::Int && self.word(0) >> 24 & 4 != 0
    }

    /// An integer's width and bit offset inside its bytes.
    pub fn int_bits(&self) -> (u32, u32) {
        match self.kind {
            Kind::Int => (self.word(0) & 0xff, self.word(0) >> 16 & 0xff),
            _ => (0, 0),
        }
    }

    /// The linkage of a variable or function (0 static, 1 global, 2 extern).
    pub fn linkage(&self) -> u32 {
        match self.kind {
            Kind::Var => self.word(0),
            Kind::Func => self.vlen as u32,
            _ => 0,
        }
    }

    /// The member or parameter a declaration tag is about; `None`: the whole type.
    pub fn component(&self) -> Option<u32> {
        (self.kind == Kind::DeclTag)
            .then(|| self.word(0))
            .filter(|i| *i != u32::MAX)
    }

    /// An array's element and length.
    pub fn array(&self) -> Option<Array> {
        (self.kind == Kind::Array).then(|| Array {
            element: self.word(0),
            index: self.word(4),
            count: self.word(8),
        })
    }

    /// Where the words of member `index` begin in the type section; its offset is the third.
    pub fn member_position(&self, index: usize) -> usize {
        self.tail + 12 * index
    }

    /// Members of a struct or union; nothing for any other kind.
    pub fn members(&self) -> impl ExactSizeIterator<Item = Member<'a>> + use<'a> {
        let ty = *self;
        (0..ty.count(&[Kind::Struct, Kind::Union])).map(move |i| {
            let offset = ty.word(12 * i + 8);
            Member {
                name: ty.btf.string(ty.word(12 * i)),
                type_id: ty.word(12 * i + 4),
                bit_offset: if ty.flag { offset & 0xff_ffff } else { offset },
                bit_size: if ty.flag { offset >> 24 } else { 0 },
            }
        })
    }

    /// Enumerators of an enumeration; nothing for any other kind.
    pub fn enumerators(&self) -> impl ExactSizeIterator<Item = Enumerator<'a>> + use<'a> {
        let ty = *self;
        let wide = ty.kind == Kind::Enum64;
        (0..ty.count(&[Kind::Enum, Kind::Enum64])).map(move |i| {
            let at = i * if wide { 12 } else { 8 };
            let low = ty.word(at + 4);
            let value = match (wide, ty.flag) {
                (true, _) => u64::from(ty.word(at + 8)) << 32 | u64::from(low),
                (false, true) => i64::from(low as i32) as u64,
                (false, false) => u64::from(low),
            };
            Enumerator {
                name: ty.btf.string(ty.word(at)),
                value,
            }
        })
    }

    /// Parameters of a prototype; nothing for any other kind.
    pub fn params(&self) -> impl ExactSizeIterator<Item = Param<'a>> + use<'a> {
        let ty = *self;
        (0..ty.count(&[Kind::FuncProto])).map(move |i| Param {
            name: ty.btf.string(ty.word(8 * i)),
            type_id: ty.word(8 * i + 4),
        })
    }

    /// Variables of a data section; nothing for any other kind.
    pub fn vars(&self) -> impl ExactSizeIterator<Item = Var> + use<'a> {
        let ty = *self;
        (0..ty.count(&[Kind::Datasec])).map(move |i| Var {
            type_id: ty.word(12 * i),
            offset: ty.word(12 * i + 4),
            size: ty.word(12 * i + 8),
        })
    }

    /// How many items follow the record, if it is of one of `kinds`.
    fn count(&self, kinds: &[Kind]) -> usize {
        if kinds.contains(&self.kind) {
            self.vlen
        } else {
            0
        }
    }

    /// A word of the part behind the common record.
    fn word(&self, at: usize) -> u32 {
        self.btf.word(self.tail + at)
    }
}

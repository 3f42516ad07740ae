//! Registers of a machine, by number, and sets of them.

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reg(pub(crate) u8);

/// A set of registers, of 32 at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Regs(u32);

impl Regs {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn of(registers: &[Reg]) -> Self {
        let mut set = Self::NONE;
        for r in registers {
            set.insert(*r);
        }
        set
    }

    pub(crate) fn has(self, r: Reg) -> bool {
        self.0 >> (r.0 & 31) & 1 != 0
    }

    pub(crate) fn insert(&mut self, r: Reg) {
        self.0 |= 1 << (r.0 & 31);
    }

    pub(crate) fn remove(&mut self, r: Reg) {
        self.0 &= !(1 << (r.0 & 31));
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in it, by increasing number.
    pub(crate) fn iter(self) -> impl Iterator<Item = Reg> {
        (0..32).map(Reg).filter(move |r| self.has(*r))
    }
}

/// Where a local lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Reg(Reg),
    /// A word of the frame.
    Slot(u16),
    /// Nowhere: nobody asks for it.
    None,
}

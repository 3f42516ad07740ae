//! The classes and their order.

/// What a 64-bit value is, as far as accesses through it care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nothing has been seen to reach here.
    Unset,
    /// A known number; 0 is also the null pointer.
    Const(i32),
    /// A number.
    Scalar,
    /// A pointer into this function's frame, so far from r10 if known.
    Stack(Option<i32>),
    /// A pointer into the context, so far from its start if known.
    Ctx(Option<i32>),
    /// Any other pointer into guest memory: map value, data section, record, packet, another frame.
    Guest,
    /// A map's handle; of which map, by index, if known.
    Map(Option<usize>),
    /// A kernel object's address, or something read from one.
    Kernel,
    /// Anything: an access decides at run time.
    Unknown,
}

impl Class {
    /// The least class that holds what either holds.
    pub(crate) fn join(self, other: Self) -> Self {
        use Class::{Const, Ctx, Guest, Kernel, Map, Scalar, Stack, Unknown, Unset};
        match (self, other) {
            (a, b) if a == b => a,
            (Unset, x) | (x, Unset) => x,
            // Null joins any pointer: nobody dereferences it.
            (Const(0), p @ (Stack(_) | Ctx(_) | Guest | Kernel)) => p,
            (p @ (Stack(_) | Ctx(_) | Guest | Kernel), Const(0)) => p,
            (Const(_) | Scalar, Const(_) | Scalar) => Scalar,
            (Stack(_), Stack(_)) => Stack(None),
            (Ctx(_), Ctx(_)) => Ctx(None),
            (Map(_), Map(_)) => Map(None),
            (Stack(_) | Ctx(_) | Guest, Stack(_) | Ctx(_) | Guest) => Guest,
            _ => Unknown,
        }
    }

    /// The class of this plus a number.
    pub(crate) fn plus(self, amount: Option<i64>) -> Self {
        let shifted = |at: Option<i32>| i32::try_from(i64::from(at?).checked_add(amount?)?).ok();
        match self {
            Class::Stack(at) => Class::Stack(shifted(at)),
            Class::Ctx(at) => Class::Ctx(shifted(at)),
            Class::Const(at) => shifted(Some(at)).map_or(Class::Scalar, Class::Const),
            Class::Map(_) => Class::Unknown,
            other => other,
        }
    }

    /// Whether it is proven to be a pointer of some kind.
    pub(crate) fn is_pointer(self) -> bool {
        matches!(
            self,
            Class::Stack(_) | Class::Ctx(_) | Class::Guest | Class::Kernel
        )
    }

    /// The number, if it is a known one.
    pub(crate) fn number(self) -> Option<i64> {
        match self {
            Class::Const(n) => Some(i64::from(n)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Class::{Const, Ctx, Guest, Kernel, Map, Scalar, Stack, Unknown, Unset};

    /// The dataflow ends because joins only go up, and its result does not depend on their order.
    #[test]
    fn join_is_a_least_upper_bound() {
        let all = [
            Unset,
            Const(0),
            Const(1),
            Scalar,
            Stack(Some(0)),
            Stack(Some(-8)),
            Stack(None),
            Ctx(Some(0)),
            Ctx(None),
            Guest,
            Map(Some(0)),
            Map(Some(1)),
            Map(None),
            Kernel,
            Unknown,
        ];
        for a in all {
            assert_eq!(a.join(a), a);
            for b in all {
                let ab = a.join(b);
                assert_eq!(ab, b.join(a), "{a:?} {b:?}");
                assert_eq!(ab.join(a), ab, "{a:?} {b:?}");
            }
        }
    }
}

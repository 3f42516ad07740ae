//! The trap table: every reason a run can end early, once.
//!
//! A trap ends one run of one program. The probed path never notices; the program's trap count,
//! last reason and site do.

macro_rules! traps {
    ($($(#[$doc:meta])* $code:literal $variant:ident, $errno:literal, $text:literal;)*) => {
        /// Why a run ended early.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Trap {
            $($(#[$doc])* $variant = $code,)*
        }

        impl Trap {
            /// Every trap, by increasing code.
            pub const ALL: &[Trap] = &[$(Trap::$variant),*];

            /// The trap with this code.
            pub const fn from_code(code: u32) -> Option<Self> {
                match code {
                    $($code => Some(Trap::$variant),)*
                    _ => None,
                }
            }

            /// What a person reads.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Trap::$variant => $text,)*
                }
            }

            /// The errno that a test-run reports (positive).
            pub const fn errno(self) -> i32 {
                match self {
                    $(Trap::$variant => $errno,)*
                }
            }
        }
    };
}

traps! {
    /// wasm `unreachable`, not behind a call of `env.trap`.
    1 Unreachable, 22, "unreachable instruction executed";
    /// A load or store outside linear memory.
    2 OutOfBounds, 14, "memory access out of bounds";
    /// The execution budget is used up.
    3 Budget, 62, "execution budget exhausted";
    /// Calls nested too deeply for the engine.
    4 StackOverflow, 7, "call stack exhausted";
    /// A CO-RE relocation that this kernel cannot satisfy was reached.
    5 Poison, 2, "CO-RE relocation has no match in this kernel's BTF";
    /// A store through a pointer that does not point into guest memory.
    6 WildStore, 14, "store through a pointer outside guest memory";
    /// A helper or kernel function this runtime does not provide was called.
    7 NoHelper, 95, "helper not provided by this runtime";
    /// A helper was given memory that is not, or not wholly, guest memory.
    8 BadPointer, 14, "helper argument points outside guest memory";
    /// An atomic operation on an address that is not a multiple of its width.
    9 Misaligned, 22, "atomic operation on a misaligned address";
    /// A helper was given something that is not a handle of a suitable map.
    10 BadMap, 22, "helper argument is not a suitable map";
    /// wasm integer division by zero or overflow. Translated code never does this.
    11 IntegerDivision, 33, "integer division by zero or overflow";
    /// An indirect call to no function, or to one of another type.
    12 BadCall, 22, "indirect call to a wrong function";
    /// A growth of memory or of a table, which a probe may not do.
    13 Growth, 12, "memory or table growth refused";
    /// The engine reported something else.
    14 Engine, 5, "engine error";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_increase_and_come_back() {
        assert!(Trap::ALL.windows(2).all(|w| (w[0] as u32) < w[1] as u32));
        for trap in Trap::ALL {
            assert_eq!(Trap::from_code(*trap as u32), Some(*trap));
            assert!(!trap.text().is_empty() && trap.errno() > 0);
        }
    }
}

//! What may differ between two runs of one program on the same events, and why. Everything else must be equal.

use serde::{Deserialize, Serialize};

/// A field that may differ.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The field, from its map on, with `[]` for any index: `start.ts`, `.bss.hists[].slots[]`, `start.key`.
    pub field: String,
    /// Numbers may be so far apart.
    #[serde(default)]
    pub within: Option<u64>,
    /// Or by this part of the larger one.
    #[serde(default)]
    pub part: Option<f64>,
    /// What lies behind the end of a text.
    #[serde(default)]
    pub text: bool,
    /// Slots of a histogram: as many events in all (but for `part`), and each is so many slots away at most, on the average.
    #[serde(default)]
    pub moved: Option<f64>,
    /// An event with a number in this range, which begins below a threshold and ends above it, may be on one side only.
    #[serde(default)]
    pub threshold: Option<[u64; 2]>,
    /// Why.
    pub reason: String,
}

impl Rule {
    /// `field` may be anything.
    pub fn of(field: &str, reason: &str) -> Self {
        Rule {
            field: field.to_owned(),
            within: None,
            part: None,
            text: false,
            moved: None,
            threshold: None,
            reason: reason.to_owned(),
        }
    }

    /// Whether this is about the field `path`.
    pub(super) fn is_about(&self, path: &str) -> bool {
        is_about(&self.field, path)
    }

    /// Whether two numbers may be what they are.
    pub(super) fn allows(&self, native: i128, wasm: i128) -> bool {
        if self.within.is_none() && self.part.is_none() {
            return true;
        }
        let apart = native.abs_diff(wasm);
        let larger = native.unsigned_abs().max(wasm.unsigned_abs());
        let part = self.part.unwrap_or(0.0) * larger as f64;
        apart <= u128::from(self.within.unwrap_or(0)) || apart as f64 <= part
    }

    /// Whether an event with this number may be on one side only.
    pub(super) fn is_at_threshold(&self, number: i128) -> bool {
        self.threshold
            .is_some_and(|[from, to]| (i128::from(from)..=i128::from(to)).contains(&number))
    }

    /// Whether the slots may be what they are. Events move through all slots between two.
    pub(super) fn allows_slots(&self, native: &[i128], wasm: &[i128]) -> bool {
        let (mut ahead, mut moves) = (0i128, 0u128);
        for (n, w) in native.iter().zip(wasm) {
            ahead += n - w;
            moves += ahead.unsigned_abs();
        }
        let total = native.iter().sum::<i128>() as f64;
        let more = ahead.unsigned_abs() as f64;
        more <= self.part.unwrap_or(0.0) * total
            && moves as f64 <= self.moved.unwrap_or(0.0) * total
    }
}

/// Whether `pattern` names the field `path`, or the struct or array it is in.
pub(super) fn is_about(pattern: &str, path: &str) -> bool {
    let rest = path.strip_prefix(pattern).map(str::to_owned);
    let generic = without_indices(path);
    let rest = rest.or_else(|| generic.strip_prefix(pattern).map(str::to_owned));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// `slots[3].x` as `slots[].x`.
fn without_indices(path: &str) -> String {
    let mut generic = String::new();
    let mut inside = false;
    for c in path.chars() {
        inside = inside && c != ']';
        if !inside {
            generic.push(c);
        }
        inside = inside || c == '[';
    }
    generic
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(field: &str) -> Rule {
        Rule {
            field: field.to_owned(),
            within: None,
            part: None,
            moved: None,
            text: false,
            threshold: None,
            reason: String::new(),
        }
    }

    #[test]
    fn rules_name_fields_whole_structs_and_any_index() {
        assert!(rule("start.ts").is_about("start.ts"));
        assert!(!rule("start.ts").is_about("start.ts_us"));
        assert!(rule("start").is_about("start.ts"));
        assert!(rule(".bss.hists[].slots[]").is_about(".bss.hists[12].slots[3]"));
        assert!(!rule(".bss.hists[].slots[]").is_about(".bss.hists[12].total"));
        assert!(rule("counts[1]").is_about("counts[1].x"));
        assert!(!rule("counts[1]").is_about("counts[2].x"));
    }

    #[test]
    fn bounds_hold() {
        let near = Rule {
            within: Some(5),
            ..rule("x")
        };
        assert!(near.allows(10, 15) && near.allows(15, 10) && !near.allows(10, 16));
        let part = Rule {
            part: Some(0.1),
            ..rule("x")
        };
        assert!(part.allows(100, 91) && !part.allows(100, 80));
        assert!(rule("x").allows(0, 1 << 64));
    }

    #[test]
    fn an_event_more_is_no_move() {
        let moved = Rule {
            moved: Some(0.5),
            ..rule("x")
        };
        assert!(moved.allows_slots(&[3, 1, 0], &[2, 2, 0]));
        assert!(!moved.allows_slots(&[3, 1, 0], &[3, 2, 0]));
        assert!(!moved.allows_slots(&[4, 0, 0], &[0, 4, 0]));
    }
}

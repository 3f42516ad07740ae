//! Two runtimes' numbers and maps side by side.

use std::fmt;

use loader::session::Elements;

/// A counter under both runtimes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// What it counts.
    pub name: String,
    /// Native eBPF's number.
    pub native: u64,
    /// The wasm runtime's number.
    pub wasm: u64,
}

/// Counters side by side, as a person reads them.
#[derive(Clone, Debug)]
pub struct Table(pub Vec<Counter>);

impl Table {
    /// Pairs up counters of both runtimes by position.
    pub fn new(names: &[&str], native: &[u64], wasm: &[u64]) -> Self {
        assert!(
            names.len() == native.len() && names.len() == wasm.len(),
            "one number a name"
        );
        let row = |i: usize| Counter {
            name: names[i].to_owned(),
            native: native[i],
            wasm: wasm[i],
        };
        Table((0..names.len()).map(row).collect())
    }

    /// Whether every counter has the same number.
    pub fn equal(&self) -> bool {
        self.0.iter().all(|c| c.native == c.wasm)
    }

    /// The sum of native's numbers.
    pub fn events(&self) -> u64 {
        self.0.iter().map(|c| c.native).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<12}{:>12}{:>12}  equal", "counter", "native", "wasm")?;
        for c in &self.0 {
            let equal = if c.native == c.wasm { "yes" } else { "NO" };
            writeln!(f, "{:<12}{:>12}{:>12}  {equal}", c.name, c.native, c.wasm)?;
        }
        Ok(())
    }
}

/// The first difference between two dumps sorted by key, in words; `None` if they are equal.
pub fn difference(native: &Elements, wasm: &Elements) -> Option<String> {
    if native.len() != wasm.len() {
        return Some(format!(
            "{} elements natively, {} in wasm",
            native.len(),
            wasm.len()
        ));
    }
    let (n, w) = native.iter().zip(wasm).find(|(n, w)| n != w)?;
    Some(format!(
        "native {:02x?} = {:02x?}\nwasm   {:02x?} = {:02x?}",
        n.0, n.1, w.0, w.1
    ))
}

/// A section's bytes as 64-bit counters.
pub fn counters(bytes: &[u8]) -> Vec<u64> {
    bytes
        .chunks_exact(8)
        .map(|b| u64::from_ne_bytes(b.try_into().expect("8 bytes")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_event_is_seen() {
        let table = Table::new(&["a", "b"], &[3, 4], &[3, 4]);
        assert!(table.equal() && table.events() == 7);
        let table = Table::new(&["a", "b"], &[3, 4], &[3, 5]);
        assert!(!table.equal() && table.to_string().contains("NO"));
    }

    #[test]
    fn a_difference_names_the_element() {
        let native = vec![(vec![1], vec![2])];
        assert_eq!(difference(&native, &native), None);
        assert!(
            difference(&native, &vec![(vec![1], vec![3])])
                .unwrap()
                .contains("wasm   [01] = [03]")
        );
        assert!(
            difference(&native, &vec![])
                .unwrap()
                .starts_with("1 elements")
        );
    }

    #[test]
    fn counters_are_native_words() {
        assert_eq!(counters(&[1, 0, 0, 0, 0, 0, 0, 0, 2]), [1]);
    }
}

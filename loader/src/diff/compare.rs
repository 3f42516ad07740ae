//! Two values, maps or streams of events, held against each other field by field.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::fields::{Field, Sense, Shape, join};
use super::rules::Rule;
use crate::session::{Elements, Sent};

/// Bytes that are shown of a longer field.
const SHOWN: usize = 32;

/// A field that differs and must not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where: map or section, element or event, field.
    pub place: String,
    /// What native eBPF has there.
    pub native: String,
    /// What wasm has there.
    pub wasm: String,
    /// Source lines that refer to the map or variable, where the object tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
}

/// What a comparison found so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// How many fields were compared.
    pub fields: u64,
    /// How many of these differ as a rule allows.
    pub allowed: u64,
    /// The rules that allowed it, by their fields.
    pub rules: BTreeSet<String>,
    /// What differs beyond that.
    pub differences: Vec<Difference>,
}

/// Compares by the rules.
pub(super) struct Comparison<'r> {
    rules: &'r [Rule],
    /// What was found.
    pub(super) findings: Findings,
}

impl<'r> Comparison<'r> {
    /// Nothing compared so far.
    pub(super) fn new(rules: &'r [Rule]) -> Self {
        Comparison {
            rules,
            findings: Findings::default(),
        }
    }

    /// Elements of map `name`, sorted by key.
    pub(super) fn maps(
        &mut self,
        name: &str,
        key: &Shape,
        value: &Shape,
        native: &Elements,
        wasm: &Elements,
    ) {
        let native = self.keyed(name, key, value, native);
        let mut wasm = self.keyed(name, key, value, wasm);
        for (k, n) in &native {
            let place = match k.len() {
                // A section has one element.
                4 if name.starts_with('.') => name.to_owned(),
                _ => format!("{name}[{}]", text(key, k)),
            };
            match wasm.remove(k) {
                Some(w) => self.values(name, &place, value, n, &w),
                None => self.differ(place, text(value, n), "no such element".to_owned()),
            }
        }
        for (k, w) in &wasm {
            let place = format!("{name}[{}]", text(key, k));
            self.differ(place, "no such element".to_owned(), text(value, w));
        }
    }

    /// Elements by key. Of those whose keys differ in what a rule leaves out only, the numbers are added up.
    fn keyed(
        &mut self,
        name: &str,
        key: &Shape,
        value: &Shape,
        elements: &Elements,
    ) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut keyed: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (k, v) in elements {
            let mut k = k.clone();
            for field in &key.fields {
                let rule = self.rule(&format!("{name}.key"), field);
                if let Some(bytes) = k.get_mut(field.at..field.at + field.size)
                    && let Some(rule) = rule.filter(|rule| rule.text)
                {
                    let text = until_nul(bytes).len();
                    if bytes[text..].iter().any(|byte| *byte != 0) {
                        bytes[text..].fill(0);
                        self.allow(rule);
                    }
                }
            }
            match keyed.entry(k) {
                Entry::Vacant(entry) => drop(entry.insert(v.clone())),
                Entry::Occupied(mut entry) => add(value, entry.get_mut(), v),
            }
        }
        keyed
    }

    /// What map `name` sent. Events of one CPU come in order; of rings that all CPUs share, those that are alike do.
    pub(super) fn sent(&mut self, name: &str, shape: Option<&Shape>, native: &Sent, wasm: &Sent) {
        if native.lost != wasm.lost {
            let lost = |sent: &Sent| format!("{} lost", sent.lost);
            self.differ(name.to_owned(), lost(native), lost(wasm));
        }
        let shape_of = |event: &[u8]| match shape {
            Some(shape) => shape.clone(),
            None => Shape::of(None, 0, event.len()),
        };
        // What must be equal tells which events belong together; the rest is compared between them.
        let grouped = |sent: &Sent| {
            let mut groups: BTreeMap<_, Vec<(usize, Vec<u8>)>> = BTreeMap::new();
            for (i, (cpu, event)) in sent.events.iter().enumerate() {
                let fixed = self.fixed(name, &shape_of(event), event);
                let group = groups.entry((*cpu, fixed)).or_default();
                group.push((i, event.clone()));
            }
            groups
        };
        let (native_groups, mut wasm_groups) = (grouped(native), grouped(wasm));
        let mut unpaired: [Vec<(u32, usize, Vec<u8>)>; 2] = Default::default();
        for ((cpu, fixed), mut ours) in native_groups {
            let mut theirs = wasm_groups.remove(&(cpu, fixed)).unwrap_or_default();
            let counts = [ours.len(), theirs.len()];
            self.leave_out(name, &mut ours, counts[1], &shape_of);
            self.leave_out(name, &mut theirs, counts[0], &shape_of);
            let both = ours.len().min(theirs.len());
            let more = |group: &mut Vec<(usize, Vec<u8>)>| {
                let more = group.split_off(both);
                more.into_iter().map(move |(i, event)| (cpu, i, event))
            };
            unpaired[0].extend(more(&mut ours));
            unpaired[1].extend(more(&mut theirs));
            for ((i, n), (_, w)) in ours.iter().zip(&theirs) {
                let place = format!("{name} event {i} of CPU {cpu}");
                self.values(name, &place, &shape_of(n), n, w);
            }
        }
        for ((cpu, _), mut group) in wasm_groups {
            self.leave_out(name, &mut group, 0, &shape_of);
            unpaired[1].extend(group.into_iter().map(|(i, event)| (cpu, i, event)));
        }
        self.unpaired(name, unpaired, &shape_of);
    }

    /// Events that have no equal on the other side: in their order, the fields in which they differ.
    fn unpaired(
        &mut self,
        name: &str,
        [mut native, mut wasm]: [Vec<(u32, usize, Vec<u8>)>; 2],
        shape_of: &dyn Fn(&[u8]) -> Shape,
    ) {
        native.sort();
        wasm.sort();
        let common = native.len().min(wasm.len());
        for ((cpu, i, n), (_, _, w)) in native.iter().zip(&wasm) {
            let place = format!("{name} event {i} of CPU {cpu}");
            self.values(name, &place, &shape_of(n), n, w);
        }
        for (cpu, i, event) in &native[common..] {
            let place = format!("{name} event {i} of CPU {cpu}");
            self.differ(place, text(&shape_of(event), event), "no such event".into());
        }
        for (cpu, i, event) in &wasm[common..] {
            let place = format!("{name} event {i} of CPU {cpu}");
            self.differ(place, "no such event".into(), text(&shape_of(event), event));
        }
    }

    /// Of more than `count` events, leaves out those that a rule lets be on one side only.
    fn leave_out(
        &mut self,
        name: &str,
        events: &mut Vec<(usize, Vec<u8>)>,
        count: usize,
        shape_of: &dyn Fn(&[u8]) -> Shape,
    ) {
        let mut more = events.len().saturating_sub(count);
        events.retain(|(_, event)| {
            let at_threshold = |field: &Field| {
                let number = number(field, bytes_of(field, event));
                let rule = self.rule(name, field);
                rule.filter(|rule| rule.is_at_threshold(number))
            };
            let rule = shape_of(event).fields.iter().find_map(at_threshold);
            let Some(rule) = rule.filter(|_| more > 0) else {
                return true;
            };
            more -= 1;
            self.allow(rule);
            false
        });
    }

    /// The bytes of `event` that no rule lets differ.
    fn fixed(&self, name: &str, shape: &Shape, event: &[u8]) -> Vec<u8> {
        let fixed = |field: &Field| match self.rule(name, field) {
            None => bytes_of(field, event).to_vec(),
            Some(rule) if rule.text => until_nul(bytes_of(field, event)).to_vec(),
            Some(_) => Vec::new(),
        };
        shape.fields.iter().flat_map(fixed).collect()
    }

    fn rule(&self, name: &str, field: &Field) -> Option<&'r Rule> {
        let path = join(name, &field.path);
        self.rules.iter().find(|rule| rule.is_about(&path))
    }

    /// One value of `name` under both runtimes.
    fn values(&mut self, name: &str, place: &str, shape: &Shape, native: &[u8], wasm: &[u8]) {
        if native.len() != wasm.len() {
            let length = |bytes: &[u8]| format!("{} bytes", bytes.len());
            return self.differ(place.to_owned(), length(native), length(wasm));
        }
        let mut slots: BTreeMap<String, (&Rule, Vec<i128>, Vec<i128>)> = BTreeMap::new();
        for field in &shape.fields {
            self.findings.fields += 1;
            let (n, w) = (bytes_of(field, native), bytes_of(field, wasm));
            let rule = self.rule(name, field);
            if let Some(rule) = rule.filter(|rule| rule.moved.is_some()) {
                let array = field.path.rsplit_once('[').map_or("", |(array, _)| array);
                let (_, ours, theirs) =
                    slots
                        .entry(array.to_owned())
                        .or_insert((rule, Vec::new(), Vec::new()));
                ours.push(number(field, n));
                theirs.push(number(field, w));
                continue;
            }
            match rule {
                _ if n == w => {}
                Some(rule) if allows(rule, field, n, w) => self.allow(rule),
                _ => {
                    let (at, n, w) = apart(field, n, w);
                    self.differ(join(place, &field.path) + &at, n, w);
                }
            }
        }
        for (array, (rule, ours, theirs)) in slots {
            match ours == theirs {
                true => {}
                false if rule.allows_slots(&ours, &theirs) => self.allow(rule),
                false => {
                    let shown = [ours, theirs].map(|slots| format!("{slots:?}"));
                    let [ours, theirs] = shown;
                    self.differ(join(place, &array), ours, theirs);
                }
            }
        }
    }

    /// Notes a difference that `rule` allows.
    fn allow(&mut self, rule: &Rule) {
        self.findings.allowed += 1;
        if !self.findings.rules.contains(&rule.field) {
            self.findings.rules.insert(rule.field.clone());
        }
    }

    fn differ(&mut self, place: String, native: String, wasm: String) {
        self.findings.differences.push(Difference {
            place,
            native,
            wasm,
            sources: Vec::new(),
        });
    }
}

fn bytes_of<'b>(field: &Field, value: &'b [u8]) -> &'b [u8] {
    let end = (field.at + field.size).min(value.len());
    value.get(field.at..end).unwrap_or_default()
}

fn allows(rule: &Rule, field: &Field, native: &[u8], wasm: &[u8]) -> bool {
    match rule.text {
        true => until_nul(native) == until_nul(wasm),
        false => rule.allows(number(field, native), number(field, wasm)),
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

/// Adds the numbers of `more` to those of `sum`.
fn add(shape: &Shape, sum: &mut [u8], more: &[u8]) {
    let is_number = |field: &&Field| matches!(field.sense, Sense::Number { .. }) && field.size <= 8;
    for field in shape.fields.iter().filter(is_number) {
        let total = number(field, bytes_of(field, sum)) + number(field, bytes_of(field, more));
        if let Some(place) = sum.get_mut(field.at..field.at + field.size) {
            place.copy_from_slice(&total.to_le_bytes()[..field.size]);
        }
    }
}

/// The bytes as a number; of more than 8, the first.
fn number(field: &Field, bytes: &[u8]) -> i128 {
    let mut word = [0; 8];
    let size = bytes.len().min(8);
    word[..size].copy_from_slice(&bytes[..size]);
    let value = u64::from_le_bytes(word);
    let unused = 64 - 8 * size.max(1);
    match field.sense {
        Sense::Number { signed: true } => i128::from((value << unused) as i64 >> unused),
        _ => i128::from(value),
    }
}

fn show(field: &Field, bytes: &[u8]) -> String {
    match field.sense {
        Sense::Number { .. } if bytes.len() <= 8 => number(field, bytes).to_string(),
        Sense::Text => {
            let text = until_nul(bytes);
            let rest = &bytes[text.len()..];
            let mut shown = format!("{:?}", String::from_utf8_lossy(text));
            if rest.iter().any(|b| *b != 0) {
                shown += &format!(" then {}", hex(rest));
            }
            shown
        }
        _ => hex(bytes),
    }
}

/// Two contents of a field as a person wants to see them: of many bytes, those that differ, and where they begin.
fn apart(field: &Field, native: &[u8], wasm: &[u8]) -> (String, String, String) {
    let differs = |i: &usize| native.get(*i) != wasm.get(*i);
    let first = (0..native.len()).find(differs).unwrap_or(0);
    if field.sense != Sense::Bytes || native.len() <= SHOWN {
        return (String::new(), show(field, native), show(field, wasm));
    }
    let last = (0..native.len()).rfind(differs).unwrap_or(0);
    let end = (last + 1).min(first + SHOWN);
    let at = format!(" bytes {first}..{end}");
    let part = |bytes: &[u8]| hex(bytes.get(first..end).unwrap_or_default());
    (at, part(native), part(wasm))
}

fn hex(bytes: &[u8]) -> String {
    let shown: String = bytes
        .iter()
        .take(SHOWN)
        .map(|b| format!("{b:02x}"))
        .collect();
    match bytes.len() {
        ..=SHOWN => shown,
        more => format!("{shown}… ({more} bytes)"),
    }
}

/// A whole value in a line.
fn text(shape: &Shape, bytes: &[u8]) -> String {
    match &shape.fields[..] {
        [one] if one.path.is_empty() => show(one, bytes),
        fields => {
            let shown = fields.iter().map(|field| {
                let value = show(field, bytes_of(field, bytes));
                format!("{}={value}", field.path)
            });
            shown.collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events that are 8-byte numbers called `n`.
    fn differences(rule: Rule, native: &[u64], wasm: &[u64]) -> Vec<Difference> {
        let shape = Shape {
            fields: vec![Field {
                path: "n".to_owned(),
                at: 0,
                size: 8,
                sense: Sense::Number { signed: false },
            }],
        };
        let sent = |numbers: &[u64]| Sent {
            events: numbers
                .iter()
                .map(|n| (0, n.to_le_bytes().to_vec()))
                .collect(),
            ..Sent::default()
        };
        let rules = [rule];
        let mut comparison = Comparison::new(&rules);
        comparison.sent("events", Some(&shape), &sent(native), &sent(wasm));
        comparison.findings.differences
    }

    #[test]
    fn an_event_at_a_threshold_may_be_on_one_side_only() {
        let rule = Rule {
            within: Some(2),
            threshold: Some([45, 47]),
            ..Rule::of("events.n", "")
        };
        assert_eq!(differences(rule.clone(), &[90, 91], &[92, 46, 91]), []);
        assert_eq!(differences(rule.clone(), &[46, 45, 80], &[80]), []);
        assert_eq!(differences(rule.clone(), &[80], &[80, 48]).len(), 1);
        assert_eq!(differences(rule, &[80, 45], &[80, 50]).len(), 1);
    }
}

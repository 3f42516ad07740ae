//! What an object's events are, as far as the object tells: what programs store into the buffers that they send, and which type of the
//! debug information agrees with that.
//!
//! A store's member is in the source line, if the object has lines. What is known here tells whether a type that somebody offers is the
//! one that is sent (`fit`), and where nobody offers any, makes one (`infer`).

mod buffers;
mod debug;
pub(crate) mod fit;
mod flow;
pub(crate) mod infer;
mod notation;
#[cfg(test)]
mod tests;
mod text;

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use abi::manifest::{Content, Map, Sent, Stored};
use abi::map_types::MapType;

use crate::cfg::Blocks;
use crate::object::{Function, Object};
use flow::Write;

/// Bytes of an event that are looked at.
const MOST: i64 = 64 * 1024;

/// What was found of the events of one map.
#[derive(Default)]
struct Found {
    sizes: BTreeSet<Option<i64>>,
    stores: Vec<Store>,
    /// Values of maps that are sent, and where in them events begin.
    values: BTreeSet<(usize, i64)>,
}

/// A store, and the map's value that it is a copy of a part of.
#[derive(Clone)]
struct Store {
    stored: Stored,
    copied: Option<(usize, i64)>,
}

/// By map, what is stored into its values.
type Values = BTreeMap<usize, Vec<Store>>;

/// What maps send.
pub(crate) fn sent(object: &Object<'_>) -> Vec<Sent> {
    if !object.maps.iter().any(is_stream) {
        return Vec::new();
    }
    let (events, values) = found(object);
    let sent = events.into_iter().map(|(map, mut found)| {
        for (value, from) in &found.values {
            let stores = values.get(value).into_iter().flatten();
            found.stores.extend(stores.filter_map(|s| s.moved(*from)));
        }
        let stores = found.stores.iter_mut();
        stores.for_each(|store| store.explain(&values));
        found.sent(&object.maps[map].name)
    });
    let mut sent: Vec<Sent> = sent.collect();
    debug::complete(object.file, &mut sent);
    sent
}

/// By map, what is known of its events; and what is stored into values.
fn found(object: &Object<'_>) -> (BTreeMap<usize, Found>, Values) {
    let mut events: BTreeMap<usize, Found> = BTreeMap::new();
    let mut values = Values::new();
    for function in object.functions.iter().filter(|f| f.broken.is_none()) {
        // One that cannot be translated is refused elsewhere, if anything reaches it.
        let Ok(blocks) = Blocks::new(&function.insns) else {
            continue;
        };
        let outputs = flow::outputs(function, &blocks);
        let stored = |write: &Write| Store::of(object, function, write);
        for sent in outputs.sent {
            let found = events.entry(sent.map).or_default();
            found.sizes.insert(sent.size);
            found.stores.extend(sent.writes.iter().filter_map(stored));
            found.values.extend(sent.value_of);
        }
        for (map, write) in outputs.values {
            values.entry(map).or_default().extend(stored(&write));
        }
    }
    (events, values)
}

impl Store {
    /// A write with what its line of source says; `None` of one outside of any event.
    fn of(object: &Object<'_>, function: &Function, write: &Write) -> Option<Self> {
        let line = function.lines.iter().rfind(|line| line.slot <= write.slot);
        let text = line.map_or("", |line| object.string(line.text));
        let is_inside = write.at >= 0 && write.size > 0 && write.at + write.size <= MOST;
        is_inside.then(|| Store {
            stored: Stored {
                at: write.at as u32,
                size: write.size as u32,
                content: write.content,
                member: text::member(text).unwrap_or_default().to_owned(),
                value: write.value.to_owned(),
            },
            copied: write.copied,
        })
    }

    /// Of a value, by its place in an event that begins at `from`.
    fn moved(&self, from: i64) -> Option<Self> {
        let at = u32::try_from(i64::from(self.stored.at) - from).ok()?;
        let stored = Stored {
            at,
            ..self.stored.clone()
        };
        Some(Store {
            stored,
            ..self.clone()
        })
    }

    /// Of a copy of a part of a value, says what was stored there.
    fn explain(&mut self, values: &Values) {
        let Some((map, from)) = self.copied else {
            return;
        };
        let size = i64::from(self.stored.size);
        let is_it = |store: &&Store| {
            let (at, end) = (store.stored.at, store.stored.at + store.stored.size);
            i64::from(at) <= from && from + size <= i64::from(end)
        };
        let original = values.get(&map).into_iter().flatten().filter(is_it);
        let original = original.filter(|store| store.stored.content != Content::Zero);
        if let Some(store) = original.min_by_key(|store| store.stored.size) {
            self.stored.content = store.stored.content;
            self.stored.value.clone_from(&store.stored.value);
        }
    }
}

impl Found {
    /// In the manifest's terms. Of events of several sizes, nothing is known: they are of several types.
    fn sent(mut self, map: &str) -> Sent {
        let constant = self.sizes.iter().flatten().copied();
        let constant: Vec<i64> = constant.filter(|size| (1..=MOST).contains(size)).collect();
        let size = match constant[..] {
            [size] if self.sizes.len() == 1 => u32::try_from(size).ok(),
            _ => None,
        };
        if constant.len() > 1 {
            self.stores.clear();
        }
        let end = size.unwrap_or(MOST as u32);
        let stores = self.stores.into_iter().map(|store| store.stored);
        let mut stores: Vec<_> = stores.filter(|s| s.at + s.size <= end).collect();
        let order = |s: &Stored| (s.at, s.size, s.content, s.member.clone(), s.value.clone());
        stores.sort_by_key(order);
        stores.dedup();
        Sent {
            map: map.to_owned(),
            size,
            stores,
            debug: None,
        }
    }
}

fn is_stream(map: &Map) -> bool {
    let map_type = MapType::from_id(map.map_type);
    matches!(map_type, Some(MapType::PerfEventArray | MapType::Ringbuf))
}

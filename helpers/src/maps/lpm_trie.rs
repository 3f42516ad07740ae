//! `BPF_MAP_TYPE_LPM_TRIE`, as `kernel/bpf/lpm_trie.c`: keys are prefixes, a lookup finds the longest that fits.
//!
//! A key is its length in bits (u32, native order) and the bytes. Nodes are branches of a binary trie;
//! one that only forks has no element. A replaced value goes to a new element, as in the kernel.

use alloc::vec::Vec;

use abi::traps::Trap;

use super::elements::Elements;
use super::{EXIST, Key, MapSpec, NOEXIST, Value, host_vec};
use crate::guest::GuestMemory;
use crate::host::Errno;
use crate::lock::SpinLock;
use crate::work::{Stop, Work, price};

/// `BPF_F_NO_PREALLOC`, which the kernel insists on (the elements here are preallocated all the same).
const NO_PREALLOC: u32 = 1;
/// `BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG`.
const FLAGS: u32 = NO_PREALLOC | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8;
/// Bytes of a key before its data.
const HEADER: u32 = 4;
/// Bytes of a key's data at most.
const MAX_DATA: u32 = 256;
/// Bytes of a value at most (`LPM_VAL_SIZE_MAX`, for the longest key).
const MAX_VALUE: u32 = (4 << 20) - MAX_DATA - 64;

/// No node, or no element.
const NONE: u32 = u32::MAX;

pub(super) fn area_bytes(spec: &MapSpec) -> Result<u64, Errno> {
    let data = spec.key_size.checked_sub(HEADER);
    let sizes_fit = data.is_some_and(|data| (1..=MAX_DATA).contains(&data))
        && (1..=MAX_VALUE).contains(&spec.value_size);
    let flags_fit = spec.flags & NO_PREALLOC != 0 && spec.flags & !FLAGS == 0;
    if !sizes_fit || !flags_fit || spec.max_entries == 0 {
        return Err(Errno::EINVAL);
    }
    if spec.max_entries >= 1 << 30 {
        return Err(Errno::ENOMEM);
    }
    Ok(Elements::bytes(spec.value_size, 1, spec.max_entries + 1))
}

/// Bytes of host memory that it takes besides itself. `spec` has passed [`area_bytes`].
pub(super) fn host_bytes(spec: &MapSpec) -> u64 {
    let node = size_of::<Node>() as u64 + u64::from(spec.key_size - HEADER);
    let elements = (u64::from(spec.max_entries) + 1) * size_of::<u32>() as u64;
    2 * u64::from(spec.max_entries) * node + elements
}

#[derive(Debug)]
pub(super) struct LpmTrie {
    elements: Elements,
    max_bits: u32,
    trie: SpinLock<Trie>,
}

#[derive(Debug)]
struct Trie {
    root: u32,
    nodes: Vec<Node>,
    /// Each node's bytes, `width` of them.
    data: Vec<u8>,
    width: usize,
    /// The first node that was taken out; its first child is the next one.
    free_node: u32,
    /// One more than the map has entries, for a value being replaced.
    free_elements: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Of its bytes, so many bits.
    bits: u32,
    children: [u32; 2],
    parent: u32,
    /// Its element; [`NONE`]: it only forks.
    element: u32,
}

/// What a key says, copied out of it.
struct Asked {
    bits: u32,
    data: [u8; MAX_DATA as usize],
}

impl Asked {
    fn new(key: &Key) -> Self {
        let mut bytes = [0; (HEADER + MAX_DATA) as usize + 4];
        for (to, word) in bytes.chunks_exact_mut(8).zip(key.words()) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        let mut data = [0; MAX_DATA as usize];
        data.copy_from_slice(&bytes[HEADER as usize..][..MAX_DATA as usize]);
        Self {
            bits: key.index(),
            data,
        }
    }

    /// With as many bytes as a node has.
    fn prefix(&self, width: usize) -> Prefix<'_> {
        Prefix {
            bits: self.bits,
            data: &self.data[..width],
        }
    }
}

/// So many leading bits of `data`, which is as long for all of a trie.
#[derive(Clone, Copy, Debug)]
struct Prefix<'d> {
    bits: u32,
    data: &'d [u8],
}

impl Prefix<'_> {
    fn bit(&self, at: u32) -> usize {
        usize::from(self.data[at as usize / 8] >> (7 - at % 8) & 1)
    }

    /// How many leading bits both have in common, of which `known` are known. So the way down to a key compares its bytes
    /// once, not at each node.
    fn common(&self, other: &Prefix<'_>, known: u32) -> u32 {
        let limit = self.bits.min(other.bits);
        let skipped = (known as usize / 8).min(self.data.len());
        let mut bits = skipped as u32 * 8;
        for (mine, theirs) in self.data[skipped..].iter().zip(&other.data[skipped..]) {
            let equal = (mine ^ theirs).leading_zeros();
            bits += equal;
            if equal < 8 || bits >= limit {
                break;
            }
        }
        bits.min(limit)
    }
}

/// Where a prefix belongs.
struct Place {
    /// The node whose child it is or would be; [`NONE`]: the root.
    parent: u32,
    /// The node there, if any.
    node: u32,
    /// How many bits that node has in common with the prefix.
    common: u32,
}

impl LpmTrie {
    /// `spec` has passed [`area_bytes`], and that many bytes lie at `area`.
    pub(super) fn new(spec: &MapSpec, area: u32) -> Result<Self, Errno> {
        // A trie of n prefixes has at most n - 1 nodes that only fork.
        let count = spec.max_entries * 2;
        let width = (spec.key_size - HEADER) as usize;
        let mut free_elements = host_vec(spec.max_entries as usize + 1)?;
        free_elements.extend((0..=spec.max_entries).rev());
        let trie = Trie {
            root: NONE,
            nodes: host_vec(count as usize)?,
            data: host_vec(count as usize * width)?,
            width,
            free_node: NONE,
            free_elements,
        };
        Ok(Self {
            elements: Elements::new(area, spec.value_size, 1, spec.max_entries + 1),
            max_bits: (spec.key_size - HEADER) * 8,
            trie: SpinLock::new(trie),
        })
    }

    pub(super) fn elements(&self) -> &Elements {
        &self.elements
    }

    /// The way down is paid for node by node; who waits for the lock meanwhile waits for no more than that.
    pub(super) fn find(&self, key: &Key, work: &Work) -> Result<Option<u32>, Trap> {
        let asked = self.asked(key, work)?;
        if asked.bits > self.max_bits {
            return Ok(None);
        }
        let trie = self.trie.lock();
        let prefix = asked.prefix(trie.width);
        let mut found = None;
        let mut at = trie.root;
        let mut known = 0;
        while at != NONE {
            work.units(price::NODE)?;
            let node = &trie.nodes[at as usize];
            known = trie.prefix(at).common(&prefix, known);
            if known < node.bits {
                break;
            }
            if node.element != NONE {
                found = Some(node.element);
            }
            if node.bits == self.max_bits || node.bits >= prefix.bits {
                break;
            }
            at = node.children[prefix.bit(node.bits)];
        }
        Ok(found)
    }

    /// The key, and what copying and comparing it takes.
    fn asked(&self, key: &Key, work: &Work) -> Result<Asked, Trap> {
        work.units(price::PREFIX)?;
        work.bytes(u64::from(self.max_bits / 8))?;
        Ok(Asked::new(key))
    }

    pub(super) fn update(
        &self,
        memory: &GuestMemory,
        key: &Key,
        value: Value<'_>,
        flags: u64,
        work: &Work,
    ) -> Result<(), Stop> {
        let asked = self.asked(key, work)?;
        if flags > EXIST || asked.bits > self.max_bits {
            return Err(Errno::EINVAL.into());
        }
        // New nodes have prefixes of their own.
        work.units(2 * price::PREFIX)?;
        let mut trie = self.trie.lock();
        let prefix = asked.prefix(trie.width);
        let place = trie.place(&prefix, work)?;
        let old = trie.element_at(&place, &prefix);
        match old {
            Some(_) if flags == NOEXIST => return Err(Errno::EEXIST.into()),
            None if flags == EXIST => return Err(Errno::ENOENT.into()),
            // The last free element is for replacing. A full trie, unlike other full maps, is ENOSPC.
            None if trie.free_elements.len() == 1 => return Err(Errno::ENOSPC.into()),
            _ => {}
        }
        let element = trie.free_elements.pop().ok_or(Errno::ENOSPC)?;
        self.elements.store(memory, element, 0, value)?;
        trie.insert(&place, &prefix, element);
        trie.free_elements.extend(old);
        Ok(())
    }

    pub(super) fn delete(&self, key: &Key, work: &Work) -> Result<(), Stop> {
        let asked = self.asked(key, work)?;
        if asked.bits > self.max_bits {
            return Err(Errno::EINVAL.into());
        }
        // What only forks goes with it, at most two nodes.
        work.units(2 * price::PREFIX)?;
        let mut trie = self.trie.lock();
        let prefix = asked.prefix(trie.width);
        let place = trie.place(&prefix, work)?;
        let element = trie.element_at(&place, &prefix).ok_or(Errno::ENOENT)?;
        trie.free_elements.push(element);
        trie.nodes[place.node as usize].element = NONE;
        trie.prune(place.node);
        Ok(())
    }

    /// Children come before their parents, the zero side before the one side.
    pub(super) fn next_key(&self, key: Option<&Key>, next: &mut [u8]) -> Result<(), Errno> {
        let trie = self.trie.lock();
        let exact = |key| {
            let asked = Asked::new(key);
            let prefix = asked.prefix(trie.width);
            let place = trie.place(&prefix, &Work::unlimited()).ok()?;
            place.exact(&prefix, &trie)
        };
        let mut at = match key.and_then(exact) {
            Some(node) => trie.after(node),
            _ => trie.first_below(trie.root),
        };
        while at != NONE && trie.nodes[at as usize].element == NONE {
            at = trie.after(at);
        }
        if at == NONE {
            return Err(Errno::ENOENT);
        }
        let prefix = trie.prefix(at);
        let (bits, data) = next.split_at_mut(HEADER as usize);
        bits.copy_from_slice(&prefix.bits.to_ne_bytes());
        data.copy_from_slice(prefix.data);
        Ok(())
    }
}

impl Place {
    /// The node there, if it is `prefix`'s own and has an element.
    fn exact(&self, prefix: &Prefix<'_>, trie: &Trie) -> Option<u32> {
        trie.element_at(self, prefix).map(|_| self.node)
    }
}

impl Trie {
    /// A node's own, which there is.
    fn prefix(&self, node: u32) -> Prefix<'_> {
        Prefix {
            bits: self.nodes[node as usize].bits,
            data: &self.data[node as usize * self.width..][..self.width],
        }
    }

    /// As [`LpmTrie::find`] pays.
    fn place(&self, prefix: &Prefix<'_>, work: &Work) -> Result<Place, Trap> {
        let mut place = Place {
            parent: NONE,
            node: self.root,
            common: 0,
        };
        while let Some(node) = self.nodes.get(place.node as usize) {
            work.units(price::NODE)?;
            place.common = self.prefix(place.node).common(prefix, place.common);
            if place.common < node.bits || node.bits == prefix.bits {
                break;
            }
            place.parent = place.node;
            place.node = node.children[prefix.bit(node.bits)];
        }
        Ok(place)
    }

    fn element_at(&self, place: &Place, prefix: &Prefix<'_>) -> Option<u32> {
        let node = self.nodes.get(place.node as usize)?;
        let same = place.common == prefix.bits && node.bits == prefix.bits;
        (same && node.element != NONE).then_some(node.element)
    }

    fn insert(&mut self, place: &Place, prefix: &Prefix<'_>, element: u32) {
        let side = self.side(place.parent, prefix);
        let Some(there) = self.nodes.get(place.node as usize).map(|node| node.bits) else {
            let node = self.add(prefix, element);
            return self.link(place.parent, side, node);
        };
        if place.common == prefix.bits && there == prefix.bits {
            // Also the bits behind the prefix are the new key's, as iteration shows.
            self.fill(place.node, prefix);
            self.nodes[place.node as usize].element = element;
            return;
        }
        let old = self.prefix(place.node).bit(place.common);
        let node = self.add(prefix, element);
        if place.common == prefix.bits {
            // Above the node that is there.
            self.adopt(node, old, place.node);
            self.link(place.parent, side, node);
        } else {
            // Beside it, under a fork.
            let fork = Prefix {
                bits: place.common,
                ..*prefix
            };
            let over = self.add(&fork, NONE);
            self.adopt(over, old, place.node);
            self.adopt(over, prefix.bit(place.common), node);
            self.link(place.parent, side, over);
        }
    }

    /// A new node. There is always room: see [`LpmTrie::new`].
    fn add(&mut self, prefix: &Prefix<'_>, element: u32) -> u32 {
        let node = Node {
            bits: prefix.bits,
            children: [NONE; 2],
            parent: NONE,
            element,
        };
        let index = self.free_node;
        let Some(slot) = self.nodes.get_mut(index as usize) else {
            // Each comes into being once, and there is capacity for all.
            self.nodes.push(node);
            self.data.extend_from_slice(prefix.data);
            return self.nodes.len() as u32 - 1;
        };
        self.free_node = slot.children[0];
        *slot = node;
        self.fill(index, prefix);
        index
    }

    /// Makes a node's bytes those of `prefix`.
    fn fill(&mut self, node: u32, prefix: &Prefix<'_>) {
        let at = node as usize * self.width;
        self.data[at..at + self.width].copy_from_slice(prefix.data);
    }

    fn adopt(&mut self, parent: u32, side: usize, child: u32) {
        self.nodes[parent as usize].children[side] = child;
        if let Some(child) = self.nodes.get_mut(child as usize) {
            child.parent = parent;
        }
    }

    /// On which side of `parent` a longer `prefix` is; of none, on neither.
    fn side(&self, parent: u32, prefix: &Prefix<'_>) -> usize {
        let parent = self.nodes.get(parent as usize);
        parent.map_or(0, |parent| prefix.bit(parent.bits))
    }

    /// Puts `node` below `parent`, on that side, or at the root.
    fn link(&mut self, parent: u32, side: usize, node: u32) {
        if parent != NONE {
            return self.adopt(parent, side, node);
        }
        self.root = node;
        if let Some(node) = self.nodes.get_mut(node as usize) {
            node.parent = NONE;
        }
    }

    /// Takes a node without element out, if it does not fork, and its parent if that is then useless.
    fn prune(&mut self, index: u32) {
        let node = self.nodes[index as usize];
        let [zero, one] = node.children;
        if node.element != NONE || zero != NONE && one != NONE {
            return;
        }
        let only = if zero == NONE { one } else { zero };
        let parent = self.nodes.get(node.parent as usize);
        let side = parent.map_or(0, |parent| usize::from(parent.children[1] == index));
        self.link(node.parent, side, only);
        self.nodes[index as usize].children[0] = self.free_node;
        self.free_node = index;
        if only == NONE && node.parent != NONE {
            self.prune(node.parent);
        }
    }

    /// The first node, children before parents, of the part below and including `node`.
    fn first_below(&self, mut node: u32) -> u32 {
        while let Some(at) = self.nodes.get(node as usize) {
            match at.children {
                [NONE, NONE] => break,
                [NONE, one] => node = one,
                [zero, _] => node = zero,
            }
        }
        node
    }

    /// The node after `node`, children before parents.
    fn after(&self, node: u32) -> u32 {
        let parent = self.nodes[node as usize].parent;
        match self.nodes.get(parent as usize).map(|p| p.children) {
            Some([zero, one]) if zero == node && one != NONE => self.first_below(one),
            _ => parent,
        }
    }
}

//! Types as BTF. A declaration is the type that it declares, where there is one.

use std::collections::HashMap;

use super::types::{Alias, Member, Node};
use crate::btf_builder::{Builder, CONST, RESTRICT, STRUCT, TYPEDEF, UNION, VOLATILE};

/// What may be declared before it is there.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Tag {
    Struct,
    Union,
    Enum,
}

fn tag(is_union: bool) -> Tag {
    if is_union { Tag::Union } else { Tag::Struct }
}

/// `nodes` in BTF's format; references among them count from 1.
pub(super) fn encode(nodes: Vec<Node<'_, u32>>) -> Vec<u8> {
    let declared = declared(&nodes);
    let ids = ids(&declared);
    let id = |of: u32| ids.get(of as usize).copied().unwrap_or(0);
    let mut btf = Builder::default();
    for (node, declared) in nodes.into_iter().zip(&declared) {
        if declared.is_none() {
            add(&mut btf, node, &id);
        }
    }
    btf.bytes()
}

/// Of each node that is the declaration of another: at which place that is.
fn declared(nodes: &[Node<'_, u32>]) -> Vec<Option<usize>> {
    let mut whole = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        let named = match node {
            Node::Composite { is_union, name, .. } => (tag(*is_union), *name),
            Node::Enum { name, .. } => (Tag::Enum, *name),
            _ => continue,
        };
        whole.entry(named).or_insert(at);
    }
    let declared = |node: &Node<'_, u32>| match node {
        Node::Declared { is_union, name } => whole.get(&(tag(*is_union), *name)).copied(),
        Node::DeclaredEnum { name } => whole.get(&(Tag::Enum, *name)).copied(),
        _ => None,
    };
    nodes.iter().map(declared).collect()
}

/// The id of each node, after `void`'s.
fn ids(declared: &[Option<usize>]) -> Vec<u32> {
    let mut own = 0;
    let mut ids = vec![0];
    for declared in declared {
        own += u32::from(declared.is_none());
        ids.push(own);
    }
    for (at, declared) in declared.iter().enumerate() {
        if let Some(there) = declared {
            ids[at + 1] = ids[there + 1];
        }
    }
    ids
}

fn add(btf: &mut Builder, node: Node<'_, u32>, id: &impl Fn(u32) -> u32) {
    match node {
        Node::Int {
            name,
            size,
            boolean: true,
            ..
        } => btf.boolean(name, size),
        Node::Int {
            name, size, signed, ..
        } => btf.int(name, size, signed),
        Node::Float { name, size } => btf.float(name, size),
        Node::Pointer(of) => btf.pointer(id(of)),
        Node::Array { of, count } => btf.array(id(of), count),
        Node::Composite {
            is_union,
            name,
            size,
            members,
        } => {
            let kind = if is_union { UNION } else { STRUCT };
            composite(btf, kind, name, size, &members, id)
        }
        Node::Declared { is_union, name } => btf.declaration(name, is_union),
        Node::Enum { name, size, values } => btf.enumeration(name, size, &values),
        Node::DeclaredEnum { name } => btf.enumeration(name, 4, &[]),
        Node::Alias { kind, name, of } => {
            let kind = match kind {
                Alias::Typedef => TYPEDEF,
                Alias::Const => CONST,
                Alias::Volatile => VOLATILE,
                Alias::Restrict => RESTRICT,
            };
            btf.alias(kind, name, id(of))
        }
        Node::Prototype { result, params } => {
            let params: Vec<_> = params.into_iter().map(id).collect();
            btf.prototype(id(result), &params)
        }
        Node::Function { name, of } => btf.function(name, id(of)),
    };
}

fn composite(
    btf: &mut Builder,
    kind: u32,
    name: &str,
    size: u32,
    members: &[Member<'_, u32>],
    id: &impl Fn(u32) -> u32,
) -> u32 {
    if members.iter().all(|member| member.bits == 0) {
        let members = members.iter().map(|m| (m.name, id(m.of), m.first));
        return btf.composite(kind, name, size, &members.collect::<Vec<_>>());
    }
    let members = members.iter().map(|m| (m.name, id(m.of), m.first, m.bits));
    btf.bitfields(kind, name, size, &members.collect::<Vec<_>>())
}

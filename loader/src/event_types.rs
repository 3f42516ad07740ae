//! What the events are that an object sends: somebody's word, or a type that the code agrees with.
//!
//! A name is no proof: newer versions of a tool send other structs under the same names. So a layout that is shipped, and a struct of
//! the object's BTF, are held against what the code stores ([`bpf2wasm::fit`]); what does not fit is passed over, and that is said.
//! Then come the object's debug information, and at last a type made of the stores.

use std::fmt;

use abi::manifest::Map;
use abi::map_types::MapType;
use anyhow::{Context, Result, bail};
use bpf2wasm::btf::{Btf, Kind, Type};
use bpf2wasm::{Agreement, Member, Sent};
use serde::Serialize;
use serde_json::{Value, json};

use crate::layout::Layout;
use crate::open::Input;
use crate::profile::Profile;

/// How deep types may nest, and how many elements of an array have members that are looked at.
const MAX_DEPTH: usize = 32;
const MAX_ELEMENTS: u32 = 64;

/// Who says what a map's events are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A person, by a struct's name.
    Event,
    /// A person, by a layout.
    Layout,
    /// A layout that is shipped for the tool.
    Shipped,
    /// The object's BTF.
    Btf,
    /// The object's debug information.
    Debug,
    /// The code that fills them.
    Code,
    /// Nobody: they are shown as bytes.
    Nobody,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Event => "as --event says",
            Source::Layout => "as --layout says",
            Source::Shipped => "by the layout shipped for this tool",
            Source::Btf => "by the object's BTF",
            Source::Debug => "by the object's debug information",
            Source::Code => "as the code fills them (--layout FILE says otherwise)",
            Source::Nobody => "not known: shown as bytes (--layout FILE says what they are)",
        })
    }
}

/// What a person says of events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Word<'w> {
    /// The struct in the object's BTF that they are.
    pub event: Option<&'w str>,
    /// Their types.
    pub layout: Option<&'w Layout>,
}

/// What sends events: a map, and their type, if it is known.
#[derive(Clone, Debug)]
pub struct Stream {
    /// The map.
    pub map: String,
    /// Where its type is.
    pub ty: Option<(Btf, u32)>,
    /// Who says so.
    pub source: Source,
    /// The type in C's notation, where that is all there is of it.
    pub notation: Option<String>,
    /// Types that somebody could have taken for it, and why they are not; doubts about a person's word.
    pub notes: Vec<String>,
    /// What the code tells of it.
    pub sent: Option<Sent>,
}

impl Stream {
    /// What of an event lies behind the type: where events are of several lengths, and the code tells only how they begin.
    pub(crate) fn rest<'b>(&self, event: &'b [u8]) -> &'b [u8] {
        let depends = self.sent.as_ref().is_some_and(|sent| sent.size.is_none());
        let size = self.ty.as_ref().and_then(|(btf, id)| btf.size_of(*id));
        let rest = event.get(size.unwrap_or(0) as usize..);
        rest.filter(|_| depends && self.source == Source::Code)
            .unwrap_or_default()
    }

    /// How a person reads it: who says what events are, the type if it is the code's, and what was passed over.
    pub fn explain(&self) -> String {
        let mut text = format!("  events    {}: {}\n", self.map, self.source);
        for note in &self.notes {
            text += &format!("            {note}\n");
        }
        text + self.notation.as_deref().unwrap_or_default()
    }

    /// What speaks against a person's word.
    pub fn doubts(&self) -> impl Iterator<Item = &str> {
        let is_word = matches!(self.source, Source::Event | Source::Layout);
        self.notes
            .iter()
            .filter(move |_| is_word)
            .map(String::as_str)
    }

    /// The same for programs.
    pub fn to_json(&self) -> Value {
        json!({ "map": self.map, "source": self.source, "notes": self.notes, "type": self.notation })
    }
}

/// What sends events in `input`, and their types.
pub fn streams(input: &Input, profile: &Profile, word: Word<'_>) -> Result<Vec<Stream>> {
    let manifest = input.manifest.as_ref();
    let maps = manifest.map_or(&[][..], |manifest| &manifest.maps);
    let maps: Vec<_> = maps.iter().filter(|map| is_stream(map)).collect();
    if let Some(layout) = word.layout
        && !maps.iter().any(|map| layout.event(&map.name).is_some())
    {
        let names: Vec<_> = maps.iter().map(|map| map.name.as_str()).collect();
        bail!(
            "the layout has no struct of what is sent: it is named as the map, and there are {}",
            if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            }
        );
    }
    let search = Search {
        btf: input.btf(),
        sent: input.sent(),
        shipped: Layout::shipped(input.tool()),
        tool: input.tool(),
        profile,
        word,
    };
    maps.iter().map(|map| search.stream(&map.name)).collect()
}

/// Whether programs send events through it.
fn is_stream(map: &Map) -> bool {
    let map_type = MapType::from_id(map.map_type);
    matches!(map_type, Some(MapType::PerfEventArray | MapType::Ringbuf))
}

/// What is known for all maps of an object.
struct Search<'s> {
    btf: Option<Btf>,
    sent: Vec<Sent>,
    shipped: Option<Layout>,
    tool: &'s str,
    profile: &'s Profile,
    word: Word<'s>,
}

impl Search<'_> {
    fn stream(&self, map: &str) -> Result<Stream> {
        let sent = self.sent.iter().find(|sent| sent.map == map);
        let mut stream = Stream {
            map: map.to_owned(),
            ty: None,
            source: Source::Nobody,
            notation: None,
            notes: Vec::new(),
            sent: sent.cloned(),
        };
        if !self.said(&mut stream, sent)?
            && !self.shipped(&mut stream, sent)
            && !self.own(&mut stream, sent)
        {
            recovered(&mut stream, sent);
        }
        Ok(stream)
    }

    /// By a person's word, which stands even against the code.
    fn said(&self, stream: &mut Stream, sent: Option<&Sent>) -> Result<bool> {
        let (source, btf, id, name) = if let Some(name) = self.word.event {
            let found = self
                .btf
                .as_ref()
                .and_then(|btf| Some((btf, btf.find(name, Kind::Struct)?)));
            let about = || format!("--event {name}: the object has no such struct");
            let (btf, ty) = found.with_context(about)?;
            (Source::Event, btf, ty.id, format!("--event {name}"))
        } else if let Some(layout) = self.word.layout {
            let Some((id, _)) = layout.event(&stream.map) else {
                return Ok(false);
            };
            (Source::Layout, layout.btf(), id, "--layout".to_owned())
        } else {
            return Ok(false);
        };
        if let Some(Err(why)) = sent.map(|sent| fit(sent, btf, id)) {
            stream.notes.push(format!("{name} does not fit: {why}"));
        }
        (stream.ty, stream.source) = (Some((btf.clone(), id)), source);
        Ok(true)
    }

    /// By the layout that is shipped, if the code proves that it is of this version.
    fn shipped(&self, stream: &mut Stream, sent: Option<&Sent>) -> bool {
        let Some(layout) = &self.shipped else {
            return false;
        };
        let Some((id, _)) = layout.event(&stream.map) else {
            return false;
        };
        let agreement = match sent {
            Some(sent) => fit(sent, layout.btf(), id),
            None => Err("the code does not tell what it sends".to_owned()),
        };
        let is_proof = |agreement: &Agreement| {
            agreement.is_proof() || self.has_struct(layout.btf(), id, &stream.map)
        };
        let why = match agreement {
            Ok(agreement) if is_proof(&agreement) => {
                (stream.ty, stream.source) = (Some((layout.btf().clone(), id)), Source::Shipped);
                return true;
            }
            Ok(Agreement {
                leaves, confirmed, ..
            }) => format!("the code names {confirmed} of its {leaves} members only"),
            Err(why) => why,
        };
        let note = format!("the layout shipped for {} is not used: {why}", self.tool);
        stream.notes.push(note);
        false
    }

    /// Whether the object has a struct of a name that suggests it whose members are those of type `id`.
    fn has_struct(&self, btf: &Btf, id: u32, map: &str) -> bool {
        let leaves = |btf: &Btf, id| {
            let mut members = Vec::new();
            collect(btf, id, ("", 0), 0, &mut members);
            members.retain(|member| member.leaf && !member.name.is_empty());
            members
        };
        let known = leaves(btf, id);
        self.btf.as_ref().is_some_and(|own| {
            let structs = self.names(map).into_iter();
            let mut structs = structs.filter_map(|name| own.find(&name, Kind::Struct));
            structs.any(|ty| leaves(own, ty.id) == known)
        })
    }

    /// By a struct in the object's BTF: one whose name says it, else the one that the code agrees with best.
    fn own(&self, stream: &mut Stream, sent: Option<&Sent>) -> bool {
        let Some(btf) = &self.btf else { return false };
        for name in self.names(&stream.map) {
            let Some(ty) = btf.find(&name, Kind::Struct) else {
                continue;
            };
            match sent.map(|sent| fit_of_object(sent, btf, ty.id)) {
                None | Some(Ok(_)) => {
                    (stream.ty, stream.source) = (Some((btf.clone(), ty.id)), Source::Btf);
                    return true;
                }
                Some(Err(why)) => {
                    let note = format!("struct {name} of the object is not used: {why}");
                    stream.notes.push(note);
                }
            }
        }
        let best = sent.and_then(|sent| best(sent, btf));
        if let Some(id) = best {
            (stream.ty, stream.source) = (Some((btf.clone(), id)), Source::Btf);
        }
        best.is_some()
    }

    /// What the struct may be called that `map` sends.
    fn names(&self, map: &str) -> Vec<String> {
        let (tool, known) = (self.tool, self.profile.events.get(map));
        let usual = ["event", map, map.trim_end_matches('s')];
        let mut names: Vec<String> = known.cloned().into_iter().collect();
        names.extend(usual.map(str::to_owned));
        names.extend([format!("{tool}_event"), format!("{tool}_event_t")]);
        names
    }
}

/// By debug information, or as the code has it.
fn recovered(stream: &mut Stream, sent: Option<&Sent>) {
    let Some(sent) = sent else { return };
    let debug = sent.debug.clone().map(|text| (Source::Debug, text));
    let code = || bpf2wasm::infer(sent).map(|text| (Source::Code, text));
    for (source, text) in debug.into_iter().chain(code()) {
        // Of what cannot be told, the bytes are shown.
        let Ok(layout) = Layout::parse(&text) else {
            continue;
        };
        if let Some((id, _)) = layout.event(&stream.map) {
            stream.ty = Some((layout.btf().clone(), id));
            (stream.source, stream.notation) = (source, Some(text));
            return;
        }
    }
}

/// Whether type `id` is what `sent` is of.
fn fit(sent: &Sent, btf: &Btf, id: u32) -> Result<Agreement, String> {
    let mut members = Vec::new();
    collect(btf, id, ("", 0), 0, &mut members);
    bpf2wasm::fit(sent, btf.size_of(id).unwrap_or(0), &members)
}

/// The same of a struct that the object itself has: programs may send the beginning of it only.
fn fit_of_object(sent: &Sent, btf: &Btf, id: u32) -> Result<Agreement, String> {
    let is_part = sent
        .size
        .is_some_and(|size| size < btf.size_of(id).unwrap_or(0));
    if !is_part {
        return fit(sent, btf, id);
    }
    let any = Sent {
        size: None,
        ..sent.clone()
    };
    let agreement = fit(&any, btf, id)?;
    match agreement.named {
        // What the sizes say.
        0 => fit(sent, btf, id),
        _ => Ok(agreement),
    }
}

/// The struct of the right size whose members the code names most often, if there is one such.
fn best(sent: &Sent, btf: &Btf) -> Option<u32> {
    let structs = btf.types().filter(|ty| ty.kind == Kind::Struct);
    let structs = structs.filter(|ty| sent.size.is_some() && ty.size() == sent.size);
    let fitting = structs.filter_map(|ty| Some((fit(sent, btf, ty.id).ok()?.named, ty.id)));
    let mut fitting: Vec<_> = fitting.filter(|(named, _)| *named > 0).collect();
    fitting.sort_unstable();
    match fitting[..] {
        [(_, only)] => Some(only),
        [.., (less, _), (most, best)] if less < most => Some(best),
        _ => None,
    }
}

/// The members of type `id`, which begins at a place and has a name there, at any depth.
fn collect(btf: &Btf, id: u32, (name, at): (&str, u32), depth: usize, into: &mut Vec<Member>) {
    let Some(ty) = btf.resolve(id).filter(|_| depth < MAX_DEPTH) else {
        return;
    };
    let element = ty.array().and_then(|array| {
        let element = btf.resolve(array.element)?;
        is_composite(&element).then_some((array.element, array.count))
    });
    let leaf = element.is_none() && !is_composite(&ty);
    into.push(Member {
        name: name.to_owned(),
        at,
        size: btf.size_of(id).unwrap_or(0),
        leaf,
    });
    if let Some((element, count)) = element {
        let size = btf.size_of(element).unwrap_or(0);
        for i in 0..count.min(MAX_ELEMENTS) {
            collect(btf, element, (name, at + i * size), depth + 1, into);
        }
    }
    if !is_composite(&ty) {
        return;
    }
    for member in ty.members() {
        let place = at + member.bit_offset / 8;
        match member.bit_size {
            0 => collect(btf, member.type_id, (member.name, place), depth + 1, into),
            bits => into.push(Member {
                name: member.name.to_owned(),
                at: place,
                size: (member.bit_offset % 8 + bits).div_ceil(8),
                leaf: true,
            }),
        }
    }
}

fn is_composite(ty: &Type<'_>) -> bool {
    matches!(ty.kind, Kind::Struct | Kind::Union)
}

//! `wprobe map`: maps that are loaded, in bpftool's grammar.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use bpf2wasm::btf::Btf;
use loader::btf_value;
use loader::inventory::{Condition, Inventory, Kind, Map, Types};
use loader::show::{Symbols, View};
use serde_json::json;

use super::wanted::Wanted;
use super::{Output, Where};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show every map, or one
    #[command(visible_alias = "list")]
    Show(Words),
    /// Show all elements of a map
    Dump(Words),
    /// Show the element at a key
    Lookup(Words),
    /// Set the element at a key
    Update(Words),
    /// Remove the element at a key
    Delete(Words),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe map list
  wprobe map dump name hists
  wprobe map lookup id 3 key 1234
  wprobe map update name start key hex 01 00 00 00 value 7 noexist
  wprobe map delete name start key 1 0 0 0
  wprobe map dump id 12 --runtime native

MAP is `id N`, `name NAME`, or either alone; of the kernel's own also `pinned FILE`. A key or value is its bytes, behind `hex` in hexadecimal, or one word by its
type: a number, an enumerator, text; without a type a number. An update may end with `any`, `exist` or `noexist`: when it is to be made.")]
struct Words {
    /// MAP [key DATA] [value DATA] [any|exist|noexist]
    #[arg(allow_negative_numbers = true)]
    words: Vec<String>,
    #[command(flatten)]
    place: Where,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    match args.verb {
        Verb::Show(words) => words.show(),
        Verb::Dump(words) => words.on(|map, _| dump(map)),
        Verb::Lookup(words) => words.on(lookup),
        Verb::Update(words) => words.on(update),
        Verb::Delete(words) => words.on(delete),
    }
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request<'w> {
    map: Wanted<'w>,
    key: Option<Vec<String>>,
    value: Option<Vec<String>>,
    condition: Option<Condition>,
}

impl Words {
    fn show(&self) -> Result<Output> {
        match self.words.is_empty() {
            true => Ok(list(&self.place.inventory()?.maps()?)),
            false => self.on(|map, _| Ok(list(&[map]))),
        }
    }

    /// Does `what` with the map that is meant.
    fn on(
        &self,
        what: impl FnOnce(Box<dyn Map + '_>, &Request<'_>) -> Result<Output>,
    ) -> Result<Output> {
        let request = parse(&self.words)?;
        let inventory = self.place.inventory()?;
        what(find(&*inventory, request.map)?, &request)
    }
}

fn parse(words: &[String]) -> Result<Request<'_>> {
    let begin = Wanted::begin(words)?;
    let (map, rest) = begin.context("which map? `id N`, `name NAME` or `pinned FILE`")?;
    if let Wanted::Tag(_) = map {
        bail!("tag: a map has none, but an id and a name");
    }
    let mut words = rest.iter().cloned().peekable();
    let mut request = Request {
        map,
        key: None,
        value: None,
        condition: None,
    };
    while let Some(word) = words.next() {
        let mut data = Vec::new();
        while let Some(next) = words.next_if(|word| word != "value" && word != "key") {
            data.push(next);
        }
        // Behind a value, bpftool's last word says when it is to be set.
        let last = data.last().and_then(|word| Condition::of(word));
        if word == "value" && data.len() > 1 && last.is_some() {
            request.condition = last;
            data.pop();
        }
        ensure!(!data.is_empty(), "{word}: nothing follows");
        match word.as_str() {
            "key" => request.key = Some(data),
            "value" => request.value = Some(data),
            other => bail!("{other}: expected `key` or `value`"),
        }
    }
    Ok(request)
}

fn find<'i>(inventory: &'i dyn Inventory, wanted: Wanted<'_>) -> Result<Box<dyn Map + 'i>> {
    let resolved = wanted.resolved(inventory, Kind::Map)?;
    let mut found = inventory.maps()?;
    found.retain(|map| {
        let id = map.info().id.to_string();
        resolved.is(&id, |name| map.is_named(name), None)
    });
    let wanted = wanted.word();
    match found.len() {
        0 => bail!("no map {wanted} (`wprobe map list` shows all)"),
        1 => Ok(found.remove(0)),
        _ => {
            let ids: Vec<_> = found.iter().map(|map| map.info().id).collect();
            bail!("several maps are named {wanted}: give an id of {ids:?}")
        }
    }
}

fn list(maps: &[Box<dyn Map + '_>]) -> Output {
    let mut text = String::new();
    let mut json = Vec::new();
    for info in maps.iter().map(|map| map.info()) {
        text += &format!("{}: {}  name {}", info.id, info.map_type, info.name);
        if let (Some(module), Some(name)) = (info.module, &info.module_name) {
            text += &format!("  module {module} ({name})");
        }
        text += &format!(
            "\n\tkey {}B  value {}B  max_entries {}\n",
            info.key_size, info.value_size, info.max_entries
        );
        json.push(json!(info));
    }
    Output {
        text,
        json: json!(json),
    }
}

fn dump(map: Box<dyn Map + '_>) -> Result<Output> {
    let (table, profile) = (map.table(&map.elements()?)?, map.profile()?);
    let view = View {
        profile: &profile,
        symbols: &Symbols::default(),
        stacks: HashMap::new(),
    };
    Ok(Output {
        text: view.table(&table),
        json: view.table_json(&table),
    })
}

fn lookup(map: Box<dyn Map + '_>, request: &Request<'_>) -> Result<Output> {
    let types = map.types()?;
    no_condition(request)?;
    let key = key(&*map, request, &types)?;
    let value = map.lookup(&key)?.context("no element at this key")?;
    let table = map.table(&vec![(key, value)])?;
    let profile = map.profile()?;
    let view = View {
        profile: &profile,
        symbols: &Symbols::default(),
        stacks: HashMap::new(),
    };
    let element = view.table_json(&table)[0].take();
    Ok(Output {
        text: format!("key: {}  value: {}", element["key"], element["value"]),
        json: element,
    })
}

fn update(map: Box<dyn Map + '_>, request: &Request<'_>) -> Result<Output> {
    let types = map.types()?;
    let key = key(&*map, request, &types)?;
    let value = request.value.as_ref().context("`value DATA` is missing")?;
    let value = value_of(&*map, value, &types).context("value")?;
    let condition = request.condition.unwrap_or_default();
    map.update(&key, &value, condition)?;
    Ok(done())
}

/// The bytes of a value: of a per-CPU map one that each CPU gets, as bpftool does it, or every CPU's.
fn value_of(map: &dyn Map, words: &[String], types: &Types) -> Result<Vec<u8>> {
    let (one, all) = (map.info().value_size as usize, map.value_bytes()?);
    let read = |size| bytes(words, size, types.btf.as_ref(), types.value);
    match read(one) {
        Ok(mut value) if one != all => {
            value.resize(one.next_multiple_of(8), 0);
            Ok(value.repeat(all / value.len()))
        }
        Err(_) if one != all => read(all),
        value => value,
    }
}

/// What is only looked at or removed has no value, and no condition.
fn no_condition(request: &Request<'_>) -> Result<()> {
    ensure!(request.value.is_none(), "`value` is for `map update`");
    Ok(())
}

fn delete(map: Box<dyn Map + '_>, request: &Request<'_>) -> Result<Output> {
    no_condition(request)?;
    let was_there = map.delete(&key(&*map, request, &map.types()?)?)?;
    ensure!(was_there, "no element at this key");
    Ok(done())
}

fn done() -> Output {
    Output {
        text: String::new(),
        json: json!({}),
    }
}

fn key(map: &dyn Map, request: &Request<'_>, types: &Types) -> Result<Vec<u8>> {
    let words = request.key.as_ref().context("`key DATA` is missing")?;
    let size = map.info().key_size as usize;
    bytes(words, size, types.btf.as_ref(), types.key).context("key")
}

/// The `size` bytes that `words` stand for.
fn bytes(words: &[String], size: usize, btf: Option<&Btf>, id: u32) -> Result<Vec<u8>> {
    let (words, radix) = match words.split_first() {
        Some((first, rest)) if first == "hex" => (rest, 16),
        _ => (words, 10),
    };
    let first = words.first().map_or("", String::as_str);
    let is_byte = size == 1 && first.parse::<u8>().is_ok();
    let typed = btf.filter(|_| id != 0 && !is_byte);
    if let (&[one], 10, Some(btf)) = (&words, radix, typed) {
        let bytes = btf_value::encode(btf, id, one).map_err(anyhow::Error::msg)?;
        ensure!(
            bytes.len() == size,
            "it has {size} bytes, {one} has {}",
            bytes.len()
        );
        return Ok(bytes);
    }
    if let (&[one], 10, Some(number)) = (&words, radix, number(first)) {
        let (bytes, rest) = number.split_at(size.min(8));
        if size > 1 && size <= 8 && rest.iter().all(|byte| *byte == 0) {
            return Ok(bytes.to_vec());
        }
        ensure!(size <= 1, "{one}: it has {size} bytes");
    }
    let byte = |word: &String| match word.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16),
        None => u8::from_str_radix(word, radix),
    };
    let parse = |word: &String| byte(word).with_context(|| format!("{word}: not a byte"));
    let bytes = words.iter().map(parse).collect::<Result<Vec<_>>>()?;
    ensure!(
        bytes.len() == size,
        "it has {size} bytes, {} are given",
        bytes.len()
    );
    Ok(bytes)
}

/// The bytes of a number without a type.
fn number(word: &str) -> Option<[u8; 8]> {
    let number = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => word.parse(),
    };
    number.ok().map(u64::to_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn requests_are_as_bpftool_has_them() {
        let data = |line| Some(words(line));
        let expected = Request {
            map: Wanted::Id("3"),
            key: data("hex 01 00"),
            value: data("7"),
            condition: None,
        };
        let line = words("id 3 key hex 01 00 value 7");
        assert_eq!(parse(&line).unwrap(), expected);
        let line = words("id 3 key 1 value 7 0 noexist");
        let conditional = parse(&line).unwrap();
        assert_eq!(conditional.value, data("7 0"));
        assert_eq!(conditional.condition, Some(Condition::NoExist));
        // One word is the value, whatever it says.
        let line = words("id 3 key 1 value any");
        let text = parse(&line).unwrap();
        assert_eq!((text.value, text.condition), (data("any"), None));
        for (line, map) in [
            ("name hists", Wanted::Name("hists")),
            ("hists", Wanted::Any("hists")),
            ("pinned /sys/fs/bpf/m", Wanted::Pinned("/sys/fs/bpf/m")),
        ] {
            assert_eq!(parse(&words(line)).unwrap().map, map);
        }
        for (line, why) in [
            ("", "which map? `id N`, `name NAME` or `pinned FILE`"),
            ("id", "id: which one? A word is missing"),
            ("id 3 key", "key: nothing follows"),
            ("id 3 keys 1", "keys: expected `key` or `value`"),
            ("tag 00", "tag: a map has none, but an id and a name"),
        ] {
            let error = parse(&words(line)).unwrap_err();
            assert_eq!(error.to_string(), why, "{line}");
        }
    }

    #[test]
    fn data_are_bytes_of_the_right_number() {
        let data = |line: &str, size| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            bytes(&words, size, None, 0).map_err(|e| e.to_string())
        };
        assert_eq!(data("1 0x10 0 0", 4).unwrap(), [1, 16, 0, 0]);
        assert_eq!(data("hex ff 10", 2).unwrap(), [255, 16]);
        assert_eq!(data("258", 4).unwrap(), [2, 1, 0, 0]);
        assert_eq!(data("65536", 2).unwrap_err(), "65536: it has 2 bytes");
        assert_eq!(data("1", 16).unwrap_err(), "1: it has 16 bytes");
        assert_eq!(data("hex", 2).unwrap_err(), "it has 2 bytes, 0 are given");
        assert_eq!(data("1 2", 4).unwrap_err(), "it has 4 bytes, 2 are given");
        assert_eq!(data("256", 1).unwrap_err(), "256: not a byte");
    }
}

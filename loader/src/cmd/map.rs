//! `wprobe map`: maps of loaded modules, in bpftool's grammar.

use std::collections::HashMap;

use abi::map_types::MapType;
use anyhow::{Context, Result, bail, ensure};
use bpf2wasm::btf::Btf;
use loader::btf_value;
use loader::device::{Device, Map};
use loader::open::Input;
use loader::probe::Running;
use loader::resident::Resident;
use loader::show::{Symbols, View};
use serde_json::{Value, json};

use super::{Output, device};

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
  wprobe map update name start key hex 01 00 00 00 value 7
  wprobe map delete name start key 1 0 0 0

MAP is `id N`, `name NAME`, or either alone. A key or value is its bytes, behind `hex` in hexadecimal, or one word by its
type: a number, an enumerator, text.")]
struct Words {
    /// MAP [key DATA] [value DATA]
    #[arg(allow_negative_numbers = true)]
    words: Vec<String>,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let device = device()?;
    match args.verb {
        Verb::Show(words) if words.words.is_empty() => list(&maps(&device)?),
        Verb::Show(words) => list(&[Place::find(&device, &words.request()?)?]),
        Verb::Dump(words) => dump(&device, &Place::find(&device, &words.request()?)?),
        Verb::Lookup(words) => lookup(&device, &words.request()?),
        Verb::Update(words) => update(&device, &words.request()?),
        Verb::Delete(words) => delete(&device, &words.request()?),
    }
}

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    map: String,
    key: Option<Vec<String>>,
    value: Option<Vec<String>>,
}

impl Words {
    fn request(&self) -> Result<Request> {
        parse(&self.words)
    }
}

fn parse(words: &[String]) -> Result<Request> {
    let mut words = words.iter().cloned().peekable();
    let mut map = words.next().context("which map? `id N` or `name NAME`")?;
    if map == "id" || map == "name" {
        map = words
            .next()
            .with_context(|| format!("{map}: of which map?"))?;
    }
    let mut request = Request {
        map,
        ..Request::default()
    };
    while let Some(word) = words.next() {
        let mut data = Vec::new();
        while let Some(next) = words.next_if(|word| word != "value" && word != "key") {
            data.push(next);
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

/// A map, and the module whose it is.
struct Place {
    map: Map,
    module: u32,
    module_name: String,
}

fn maps(device: &Device) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    for resident in Resident::all(device)? {
        places.extend(resident.maps()?.into_iter().map(|map| Place {
            map,
            module: resident.info.id,
            module_name: resident.name(),
        }));
    }
    Ok(places)
}

impl Place {
    fn find(device: &Device, request: &Request) -> Result<Self> {
        let wanted = &request.map;
        let id = wanted.parse::<u32>().ok();
        let mut found = maps(device)?;
        found.retain(|place| Some(place.map.info().id) == id || place.map.name() == *wanted);
        match found.len() {
            0 => bail!("no map {wanted} (`wprobe map list` shows all)"),
            1 => Ok(found.remove(0)),
            _ => {
                let ids: Vec<_> = found.iter().map(|place| place.map.info().id).collect();
                bail!("several maps are named {wanted}: give an id of {ids:?}")
            }
        }
    }

    fn input(&self, device: &Device) -> Result<Input> {
        Ok(Resident::find(device, &self.module.to_string())?.input()?)
    }

    /// The types of key and value, and where they are.
    fn types(&self, input: &Input) -> (Option<Btf>, u32, u32) {
        let maps = input.manifest.as_ref().map(|manifest| &manifest.maps);
        let name = self.map.name();
        let described = maps.and_then(|maps| maps.iter().find(|map| map.name == name));
        let types = described.map_or((0, 0), |map| (map.key_type, map.value_type));
        (input.btf(), types.0, types.1)
    }
}

fn list(places: &[Place]) -> Result<Output> {
    let mut text = String::new();
    let mut json = Vec::new();
    for place in places {
        let info = place.map.info();
        let kind = MapType::from_id(info.map_type).map_or("unknown", MapType::name);
        let name = place.map.name();
        text += &format!(
            "{}: {kind}  name {name}  module {} ({})\n\tkey {}B  value {}B  max_entries {}\n",
            info.id,
            place.module,
            place.module_name,
            info.key_size,
            info.value_size,
            info.max_entries
        );
        json.push(json!({
            "id": info.id, "type": kind, "name": name, "module": place.module,
            "bytes_key": info.key_size, "bytes_value": info.value_size, "max_entries": info.max_entries,
        }));
    }
    Ok(Output {
        text,
        json: json!(json),
    })
}

fn dump(device: &Device, place: &Place) -> Result<Output> {
    let resident = Resident::find(device, &place.module.to_string())?;
    let running = Running::resident(device, &resident)?;
    let table = running.table(&place.map.name())?;
    let view = View {
        profile: &running.profile,
        symbols: &Symbols::default(),
        stacks: HashMap::new(),
    };
    Ok(Output {
        text: view.table(&table),
        json: view.table_json(&table),
    })
}

fn lookup(device: &Device, request: &Request) -> Result<Output> {
    let place = Place::find(device, request)?;
    let input = place.input(device)?;
    let (btf, key_type, value_type) = place.types(&input);
    let key = key(&place, request, btf.as_ref(), key_type)?;
    let value = place.map.lookup(&key, device.about()?.cpus)?;
    let value = value.context("no element at this key")?;
    let show = |id: u32, bytes: &[u8]| -> Value {
        let record = loader::record::Record::read(btf.as_ref(), id, bytes);
        record.to_json()
    };
    let (key, value) = (show(key_type, &key), show(value_type, &value));
    Ok(Output {
        text: format!("key: {key}  value: {value}"),
        json: json!({ "key": key, "value": value }),
    })
}

fn update(device: &Device, request: &Request) -> Result<Output> {
    let place = Place::find(device, request)?;
    let input = place.input(device)?;
    let (btf, key_type, value_type) = place.types(&input);
    let key = key(&place, request, btf.as_ref(), key_type)?;
    let value = request.value.as_ref().context("`value DATA` is missing")?;
    let size = place.map.value_bytes(device.about()?.cpus);
    let value = bytes(value, size, btf.as_ref(), value_type).context("value")?;
    place.map.update(&key, &value, 0)?;
    Ok(done())
}

fn delete(device: &Device, request: &Request) -> Result<Output> {
    let place = Place::find(device, request)?;
    let input = place.input(device)?;
    let (btf, key_type, _) = place.types(&input);
    let key = key(&place, request, btf.as_ref(), key_type)?;
    let was_there = place.map.delete(&key)?;
    ensure!(was_there, "no element at this key");
    Ok(done())
}

fn done() -> Output {
    Output {
        text: String::new(),
        json: json!({}),
    }
}

fn key(place: &Place, request: &Request, btf: Option<&Btf>, id: u32) -> Result<Vec<u8>> {
    let words = request.key.as_ref().context("`key DATA` is missing")?;
    bytes(words, place.map.info().key_size as usize, btf, id).context("key")
}

/// The `size` bytes that `words` stand for.
fn bytes(words: &[String], size: usize, btf: Option<&Btf>, id: u32) -> Result<Vec<u8>> {
    let (words, radix) = match words.split_first() {
        Some((first, rest)) if first == "hex" => (rest, 16),
        _ => (words, 10),
    };
    if let (&[one], 10, Some(btf)) = (&words, radix, btf.filter(|_| id != 0 && size > 1)) {
        let bytes = btf_value::encode(btf, id, one).map_err(anyhow::Error::msg)?;
        ensure!(
            bytes.len() == size,
            "it has {size} bytes, {one} has {}",
            bytes.len()
        );
        return Ok(bytes);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Result<Request> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn requests_are_as_bpftool_has_them() {
        let words = |words: &[&str]| Some(words.iter().map(|w| (*w).to_owned()).collect());
        let expected = Request {
            map: "3".to_owned(),
            key: words(&["hex", "01", "00"]),
            value: words(&["7"]),
        };
        assert_eq!(request("id 3 key hex 01 00 value 7").unwrap(), expected);
        assert_eq!(request("name hists").unwrap().map, "hists");
        assert_eq!(request("hists").unwrap().map, "hists");
        for (line, why) in [
            ("", "which map? `id N` or `name NAME`"),
            ("id", "id: of which map?"),
            ("id 3 key", "key: nothing follows"),
            ("id 3 keys 1", "keys: expected `key` or `value`"),
        ] {
            assert_eq!(request(line).unwrap_err().to_string(), why, "{line}");
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
        assert_eq!(data("1 2", 4).unwrap_err(), "it has 4 bytes, 2 are given");
        assert_eq!(data("256", 1).unwrap_err(), "256: not a byte");
    }
}

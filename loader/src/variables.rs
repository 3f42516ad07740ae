//! Names of global variables. Two may share one: statics of one name in several files, or variables of two sections. Then they are called
//! by their section and place, too: `[SECTION.]NAME[@OFFSET]`.

use abi::manifest::{Map, Symbol};

/// The variables of `section`.
fn symbols(section: &Map) -> impl Iterator<Item = &Symbol> {
    section.data.iter().flat_map(|data| &data.symbols)
}

/// What `symbol` is called among those of `section`: its name, with its place where another has that.
pub(crate) fn within(section: &Map, symbol: &Symbol) -> String {
    let alike = symbols(section).filter(|other| other.name == symbol.name);
    match alike.count() {
        ..=1 => symbol.name.clone(),
        _ => format!("{}@{}", symbol.name, symbol.offset),
    }
}

/// The same among those of all of `maps`.
pub(crate) fn among(maps: &[Map], section: &Map, symbol: &Symbol) -> String {
    let name = within(section, symbol);
    let others = maps.iter().filter(|map| map.name != section.name);
    match others
        .flat_map(symbols)
        .any(|other| other.name == symbol.name)
    {
        true => format!("{}.{name}", section.name),
        false => name,
    }
}

/// Whether a person who says `text` may mean `symbol`.
pub(crate) fn is_meant(text: &str, section: &Map, symbol: &Symbol) -> bool {
    let text = match text.rsplit_once('@') {
        Some((text, offset)) if offset.parse() == Ok(symbol.offset) => text,
        Some(_) => return false,
        None => text,
    };
    let in_section = || text.strip_prefix(&section.name)?.strip_prefix('.');
    text == symbol.name || in_section() == Some(&symbol.name[..])
}

#[cfg(test)]
mod tests {
    use abi::manifest::{DataKind, DataSection};

    use super::*;

    fn section(name: &str, symbols: &[(&str, u32)]) -> Map {
        let symbol = |&(name, offset): &(&str, u32)| Symbol {
            name: name.to_owned(),
            offset,
            size: 4,
            type_id: 0,
        };
        Map {
            name: name.to_owned(),
            map_type: 2,
            key_size: 4,
            value_size: 16,
            max_entries: 1,
            flags: 0,
            key_type: 0,
            value_type: 0,
            data: Some(DataSection {
                kind: DataKind::Bss,
                init: None,
                symbols: symbols.iter().map(symbol).collect(),
            }),
            inner: None,
            values: Vec::new(),
            pinned: false,
        }
    }

    #[test]
    fn names_tell_variables_apart_and_are_understood() {
        let maps = [
            section(".bss", &[("count", 0), ("count", 8), ("seen", 4)]),
            section(".data", &[("seen", 0), ("last", 4)]),
        ];
        let mut names = Vec::new();
        for map in &maps {
            for symbol in symbols(map) {
                let name = among(&maps, map, symbol);
                let meant = maps
                    .iter()
                    .flat_map(|map| symbols(map).map(move |s| (map, s)));
                let meant = meant.filter(|(map, symbol)| is_meant(&name, map, symbol));
                assert_eq!(meant.count(), 1, "{name}");
                names.push(name);
            }
        }
        let expected = ["count@0", "count@8", ".bss.seen", ".data.seen", "last"];
        assert_eq!(names, expected);
        assert!(!is_meant(
            "coun",
            &maps[0],
            &maps[0].data.as_ref().unwrap().symbols[0]
        ));
    }
}

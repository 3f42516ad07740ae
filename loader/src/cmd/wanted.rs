//! Which program, map or link is asked for, in bpftool's words.

use anyhow::{Result, bail};
use loader::inventory::{Inventory, Kind};

/// What follows a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted<'w> {
    /// An id or a name.
    Any(&'w str),
    /// `id ID`
    Id(&'w str),
    /// `name NAME`
    Name(&'w str),
    /// `tag TAG`
    Tag(&'w str),
    /// `pinned FILE`
    Pinned(&'w str),
}

impl<'w> Wanted<'w> {
    /// What the first of `words` ask for, and what follows; nothing if there are none.
    pub(super) fn begin(words: &'w [String]) -> Result<Option<(Self, &'w [String])>> {
        let Some((first, rest)) = words.split_first() else {
            return Ok(None);
        };
        let by: fn(&'w str) -> Self = match first.as_str() {
            "id" => Wanted::Id,
            "name" => Wanted::Name,
            "tag" => Wanted::Tag,
            "pinned" => Wanted::Pinned,
            word => return Ok(Some((Wanted::Any(word), rest))),
        };
        match rest.split_first() {
            Some((word, rest)) => Ok(Some((by(word), rest))),
            None => bail!("{first}: which one? A word is missing"),
        }
    }

    /// What all of `words` ask for; nothing if there are none.
    pub(super) fn all(words: &'w [String]) -> Result<Option<Self>> {
        match Wanted::begin(words)? {
            Some((_, [extra, ..])) => bail!("{extra}: one at a time, or all"),
            begin => Ok(begin.map(|(wanted, _)| wanted)),
        }
    }

    /// The same, with the id of what is pinned.
    pub(super) fn resolved(self, inventory: &dyn Inventory, kind: Kind) -> Result<Resolved<'w>> {
        Ok(match self {
            Wanted::Pinned(file) => Resolved {
                pinned: Some(inventory.pinned(kind, file)?),
                wanted: self,
            },
            _ => Resolved {
                pinned: None,
                wanted: self,
            },
        })
    }

    /// The word that it is told by.
    pub(super) fn word(self) -> &'w str {
        match self {
            Wanted::Any(word)
            | Wanted::Id(word)
            | Wanted::Name(word)
            | Wanted::Tag(word)
            | Wanted::Pinned(word) => word,
        }
    }
}

/// [`Wanted`] of an inventory.
#[derive(Clone, Copy)]
pub(super) struct Resolved<'w> {
    wanted: Wanted<'w>,
    pinned: Option<u32>,
}

impl Resolved<'_> {
    /// Whether it is the one with this id, for which one of `names` holds, and this tag.
    pub(super) fn is(&self, id: &str, is_named: impl Fn(&str) -> bool, tag: Option<&str>) -> bool {
        match self.wanted {
            Wanted::Any(word) => id == word || is_named(word),
            Wanted::Id(word) => id == word,
            Wanted::Name(word) => is_named(word),
            Wanted::Tag(word) => tag == Some(word),
            Wanted::Pinned(_) => self.pinned.is_some_and(|pinned| id == pinned.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn words_are_bpftools() {
        for (line, expected) in [
            ("id 3", Wanted::Id("3")),
            ("name id", Wanted::Name("id")),
            ("tag 0011223344556677", Wanted::Tag("0011223344556677")),
            ("pinned /sys/fs/bpf/x", Wanted::Pinned("/sys/fs/bpf/x")),
            ("hists", Wanted::Any("hists")),
        ] {
            let words = words(line);
            assert_eq!(Wanted::all(&words).unwrap(), Some(expected), "{line}");
        }
        assert_eq!(Wanted::all(&[]).unwrap(), None);
        for (line, why) in [
            ("tag", "tag: which one? A word is missing"),
            ("id 3 4", "4: one at a time, or all"),
            ("3 id", "id: one at a time, or all"),
        ] {
            let error = Wanted::all(&words(line)).unwrap_err();
            assert_eq!(error.to_string(), why, "{line}");
        }
        let line = words("pinned /m key 1");
        let (wanted, rest) = Wanted::begin(&line).unwrap().unwrap();
        assert_eq!((wanted, rest), (Wanted::Pinned("/m"), &line[2..]));
    }
}

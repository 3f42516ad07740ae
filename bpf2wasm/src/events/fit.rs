//! Whether a type is what programs send.

use alloc::format;
use alloc::string::String;

use abi::manifest::{Content, Sent, Stored};

/// A member of a type, at any depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, without those of what it is in.
    pub name: String,
    /// Bytes from the start of the type.
    pub at: u32,
    /// How many bytes it has.
    pub size: u32,
    /// Whether it has no members of its own.
    pub leaf: bool,
}

/// How far a type agrees with the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Stores whose line of source names the member that is there.
    pub named: usize,
    /// Members without members, and how many of these are named so.
    pub leaves: usize,
    /// How many of them a store names.
    pub confirmed: usize,
}

impl Agreement {
    /// Whether the code alone says that the type is the right one: it names half of the members, where the type has them.
    pub fn is_proof(&self) -> bool {
        self.confirmed > 0 && self.confirmed * 2 >= self.leaves
    }
}

/// Holds a type of `size` bytes with `members` against what is known of `sent`. An error says where the code does otherwise.
pub fn fit(sent: &Sent, size: u32, members: &[Member]) -> Result<Agreement, String> {
    if let Some(sent) = sent.size.filter(|sent| *sent != size) {
        return Err(format!("it has {size} bytes, and the code sends {sent}"));
    }
    let mut agreement = Agreement::default();
    for store in &sent.stores {
        agreement.named += usize::from(agrees(store, size, members)?);
    }
    let leaves = || members.iter().filter(|member| member.leaf);
    let is_confirmed = |member: &&Member| sent.stores.iter().any(|store| names(store, member));
    agreement.leaves = leaves().count();
    agreement.confirmed = leaves().filter(is_confirmed).count();
    Ok(agreement)
}

/// Whether the line that `store` comes from names `member`, and the store is within it.
fn names(store: &Stored, member: &Member) -> bool {
    store.member == member.name && is_within(store, member)
}

fn is_within(store: &Stored, member: &Member) -> bool {
    store.at >= member.at && store.at + store.size <= member.at + member.size
}

/// Whether the code names what is at the place of `store`; an error if it is another member, or text that is longer than any there.
fn agrees(store: &Stored, size: u32, members: &[Member]) -> Result<bool, String> {
    let Stored { at, member, .. } = store;
    if at + store.size > size {
        return Err(format!("it has {size} bytes, and the code stores at {at}"));
    }
    // One that clears all of it comes from a line that names what is filled next.
    if store.content == Content::Zero {
        return Ok(false);
    }
    // A copy of text is made in words.
    let holds_text = |m: &Member| is_within(store, m) && (m.at == *at || store.size <= 8);
    if store.content == Content::Text && !members.iter().any(holds_text) {
        return Err(format!(
            "the code stores {} bytes of text at {at}",
            store.size
        ));
    }
    match &member[..] {
        "" => Ok(false),
        _ if members.iter().any(|m| names(store, m)) => Ok(true),
        member => Err(format!("the code stores {member} at {at}")),
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::vec;

    use super::*;

    fn store(at: u32, size: u32, content: Content, member: &str) -> Stored {
        Stored {
            at,
            size,
            content,
            member: member.to_owned(),
            value: String::new(),
        }
    }

    fn member(name: &str, at: u32, size: u32) -> Member {
        Member {
            name: name.to_owned(),
            at,
            size,
            leaf: true,
        }
    }

    #[test]
    fn a_type_fits_where_size_places_and_names_agree() {
        let sent = Sent {
            map: "events".to_owned(),
            size: Some(24),
            stores: vec![
                store(0, 8, Content::Zero, "other"),
                store(0, 4, Content::Number, "pid"),
                store(4, 4, Content::Number, ""),
                store(8, 16, Content::Text, "comm"),
            ],
            debug: None,
        };
        let why = |size, members: &[Member]| fit(&sent, size, members).unwrap_err();
        let right = [
            member("pid", 0, 4),
            member("ret", 4, 4),
            member("comm", 8, 16),
        ];
        let agreement = fit(&sent, 24, &right).unwrap();
        assert_eq!((agreement.named, agreement.confirmed), (2, 2));
        assert!(agreement.is_proof());
        assert_eq!(why(32, &right), "it has 32 bytes, and the code sends 24");
        let swapped = [
            member("ret", 0, 4),
            member("pid", 4, 4),
            member("comm", 8, 16),
        ];
        assert_eq!(why(24, &swapped), "the code stores pid at 0");
        let short = [
            member("pid", 0, 4),
            member("comm", 8, 8),
            member("x", 16, 8),
        ];
        assert_eq!(why(24, &short), "the code stores 16 bytes of text at 8");
    }

    #[test]
    fn a_code_without_names_proves_nothing() {
        let sent = Sent {
            map: "events".to_owned(),
            size: Some(4),
            stores: vec![store(0, 4, Content::Number, "")],
            debug: None,
        };
        let agreement = fit(&sent, 4, &[member("pid", 0, 4)]).unwrap();
        assert!(!agreement.is_proof());
    }
}

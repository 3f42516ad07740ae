//! Attachments of many places: where these are, and the cookie of each.

use alloc::boxed::Box;
use alloc::vec::Vec;

use abi::uapi::{AttachPoint, LinkCreate, MAX_PLACES};
use helpers::host::Errno;

use crate::user;

/// Values of `bpf_get_attach_cookie()`.
pub(super) enum Cookies {
    /// At every place.
    One(u64),
    /// At each.
    Each(Box<[u64]>),
}

impl Cookies {
    /// That of `place`.
    pub(super) fn at(&self, place: u64) -> u64 {
        match self {
            Cookies::One(cookie) => *cookie,
            Cookies::Each(cookies) => cookies.get(place as usize).copied().unwrap_or(0),
        }
    }
}

/// The places of a link that has many, and its cookies; no places where target and offset say it.
pub(super) fn of(attach: AttachPoint, args: &LinkCreate) -> Result<(Box<[u64]>, Cookies), Errno> {
    let count = args.place_count;
    if count == 0 {
        return match args.places | args.cookies {
            0 => Ok((Box::default(), Cookies::One(args.cookie))),
            _ => Err(Errno::EINVAL),
        };
    }
    let may_have = matches!(
        attach,
        AttachPoint::Kprobe
            | AttachPoint::Kretprobe
            | AttachPoint::KprobeSession
            | AttachPoint::Uprobe
            | AttachPoint::Uretprobe
    );
    if !may_have || args.offset != 0 || args.semaphore != 0 {
        return Err(Errno::EINVAL);
    }
    if count > MAX_PLACES {
        return Err(Errno::E2BIG);
    }
    let places = numbers(args.places, count)?;
    let cookies = match args.cookies {
        0 => Cookies::One(args.cookie),
        _ if args.cookie != 0 => return Err(Errno::EINVAL),
        from => Cookies::Each(numbers(from, count)?),
    };
    Ok((places, cookies))
}

/// `count` numbers of user space's.
fn numbers(from: u64, count: u64) -> Result<Box<[u64]>, Errno> {
    const SIZE: usize = size_of::<u64>();
    let bytes = user::bytes(from, count as usize * SIZE)?;
    let mut numbers = Vec::new();
    numbers
        .try_reserve_exact(count as usize)
        .map_err(|_| Errno::ENOMEM)?;
    let (words, _) = bytes.as_chunks::<SIZE>();
    numbers.extend(words.iter().map(|word| u64::from_ne_bytes(*word)));
    Ok(numbers.into_boxed_slice())
}

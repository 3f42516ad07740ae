//! Paths through structs that nobody vouches for.

use super::host::{ROOT, WORDS};
use super::*;

/// Where the forged structs are.
const PATH: u64 = 0x1000;
const MOUNT: u64 = 0x2000;
const OTHER_MOUNT: u64 = 0x3000;
const ENTRY: u64 = 0x4000;
const OTHER_ENTRY: u64 = 0x5000;

const ENAMETOOLONG: u64 = -36i64 as u64;

/// Makes words of "kernel memory".
fn forge(words: &[(u64, u64)]) {
    WORDS.with_borrow_mut(|known| known.extend(words.iter().copied()));
}

/// An entry with this parent, named `TEXT` up to `length`.
fn entry(at: u64, parent: u64, length: u64) {
    // Its parent, name, length, hash, operations.
    let words = [parent, KERNEL, length, 1, 0];
    let places = (at..).step_by(8);
    forge(&places.zip(words).collect::<Vec<_>>());
}

/// A mount with this root, mounted there.
fn mount(at: u64, root: u64, parent: u64, point: u64) {
    forge(&[(at, root), (at + 8, parent), (at + 16, point)]);
}

fn path(work: u64, size: u64) -> Result<u64, Trap> {
    let space = space();
    forge(&[(PATH, MOUNT), (PATH + 8, ENTRY)]);
    let run = Run {
        work: &Work::new(work),
        ..run(&space)
    };
    let d_path = implementation::<KnownHost>(147).unwrap();
    d_path(&run, [PATH, guest_ptr(0), size, 0, 0])
}

#[test]
fn a_path_ends_at_the_root_or_where_nothing_is_mounted_on() {
    mount(MOUNT, ROOT.1, MOUNT, 0);
    entry(ENTRY, ROOT.1, 8);
    assert_eq!(path(1 << 20, 64), Ok(10), "/a string");
    assert_eq!(path(1 << 20, 10), Ok(10));
    assert_eq!(path(1 << 20, 9), Ok(ENAMETOOLONG));
    assert_eq!(path(1 << 20, 0), Ok(0));
    forge(&[(ENTRY + 24, 0)]);
    assert_eq!(path(1 << 20, 64), Ok(20), "/a string (deleted)");
}

#[test]
fn no_circle_goes_on_for_ever() {
    entry(ENTRY, OTHER_ENTRY, 0);
    entry(OTHER_ENTRY, ENTRY, 0);
    mount(MOUNT, 0, MOUNT, 0);
    assert_eq!(path(1 << 20, 4096), Ok(ENAMETOOLONG));
    assert_eq!(path(1 << 10, 4096), Err(Trap::Budget));
    mount(MOUNT, ENTRY, OTHER_MOUNT, OTHER_ENTRY);
    mount(OTHER_MOUNT, OTHER_ENTRY, MOUNT, ENTRY);
    assert_eq!(path(1 << 20, 4096), Err(Trap::Budget));
}

#[test]
fn what_cannot_be_read_fails() {
    let space = space();
    for pointer in [0, guest_ptr(64), KERNEL, u64::MAX] {
        let found = call(&space, "d_path", &[pointer, guest_ptr(0), 64]);
        assert_eq!(found, Ok(EFAULT), "{pointer:#x}");
    }
    let outside = call(&space, "d_path", &[PATH, KERNEL, 64]);
    assert_eq!(outside, Err(Trap::BadPointer));
    // A length and a name that do not fit together leave crosses, as natively.
    mount(MOUNT, 0, MOUNT, 0);
    entry(ENTRY, OTHER_ENTRY, 40);
    assert_eq!(path(1 << 20, 64), Ok(41));
    entry(ENTRY, OTHER_ENTRY, u32::MAX.into());
    assert_eq!(path(1 << 20, 64), Ok(ENAMETOOLONG));
}

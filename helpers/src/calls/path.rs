//! `d_path`: the path of a file, as `fs/d_path.c` makes it, from the end to the root.
//!
//! A program may have forged the pointer, or read it from where something else is by now. So nothing here is the
//! kernel's own walk: each pointer is a number that is read through fault-safely, each step is paid for, and no lock is
//! taken. What the natives' sequence locks are for, a path that changes meanwhile, may come out as a mix of both.

use super::Run;
use crate::guest::GuestSlice;
use crate::host::{Errno, Host, PathLayout, Result0};
use crate::work::{Stop, price};

/// `ENAMETOOLONG`: the buffer is too small.
const ENAMETOOLONG: Errno = Errno(36);

/// File systems whose files have made-up names (`linux/magic.h`).
const PIPEFS: u64 = 0x5049_5045;
const SOCKFS: u64 = 0x534f_434b;
const ANON_INODE_FS: u64 = 0x0904_1934;
const TMPFS: u64 = 0x0102_1994;
const HUGETLBFS: u64 = 0x9584_58f6;

/// Longest made-up name of a pipe, socket or such, with its NUL (`dynamic_dname()`).
const MADE_UP: usize = 64;

/// A name that grows towards the front of a buffer (`struct prepend_buffer`).
#[derive(Clone, Copy)]
struct Name<'a> {
    buffer: GuestSlice<'a>,
    /// Where it begins; `None`: it did not fit.
    start: Option<usize>,
}

impl<'a> Name<'a> {
    fn new(buffer: GuestSlice<'a>) -> Self {
        let start = Some(buffer.len());
        Name { buffer, start }
    }

    /// Room for `length` more bytes before it, of which the last ones are wanted if not all fit; how many do not.
    fn grow(&mut self, length: u64) -> Option<(GuestSlice<'a>, u64)> {
        let start = self.start?;
        let fit = length.min(start as u64);
        let missing = length - fit;
        self.start = (missing == 0).then_some(start - fit as usize);
        let room = self.buffer.from(start - fit as usize).first(fit as usize);
        Some((room, missing))
    }

    /// Whether all of it fits.
    fn prepend(&mut self, text: &[u8]) -> bool {
        let Some((room, missing)) = self.grow(text.len() as u64) else {
            return false;
        };
        room.write(&text[missing as usize..]);
        missing == 0
    }

    /// Whether all of it fits, and could be read; crosses instead if not.
    fn prepend_kernel<H: Host>(&mut self, host: &H, from: u64, length: u64) -> bool {
        let Some((room, missing)) = self.grow(length) else {
            return false;
        };
        let read = host.read_kernel(room, from.wrapping_add(missing));
        if read.is_err() {
            (0..room.len()).for_each(|at| room.set(at, b'x'));
        }
        missing == 0 && read.is_ok()
    }

    /// Moves it to the front of the buffer; its length with NUL.
    fn finish(self) -> Result<u64, Stop> {
        let text = self.buffer.from(self.start.ok_or(ENAMETOOLONG)?);
        self.buffer.first(text.len()).copy_from(text);
        Ok(text.len() as u64)
    }
}

/// Where a walk is: a mount and an entry of a directory in it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    mount: u64,
    entry: u64,
}

/// The walk, as the kernel's structs lie.
struct Paths<'r, 'a, H> {
    run: &'r Run<'a, H>,
    layout: PathLayout,
}

impl<H: Host> Paths<'_, '_, H> {
    fn word(&self, address: u64, offset: i32) -> Result<u64, Errno> {
        let address = address.wrapping_add_signed(offset.into());
        self.run.host.load_kernel(8, address)
    }

    fn parent(&self, entry: u64) -> Result<u64, Errno> {
        self.word(entry, self.layout.entry_parent)
    }

    /// Bytes of an entry's name.
    fn length(&self, entry: u64) -> Result<u64, Errno> {
        let length = entry.wrapping_add_signed(self.layout.entry_length.into());
        self.run.host.load_kernel(4, length)
    }

    /// `prepend_name()` without the slash.
    fn prepend_name(&self, name: &mut Name<'_>, entry: u64) -> Result<bool, Errno> {
        let text = self.word(entry, self.layout.entry_name)?;
        Ok(name.prepend_kernel(self.run.host, text, self.length(entry)?))
    }

    /// Whether the entry is in no directory any more (`d_unlinked()`).
    fn is_unlinked(&self, entry: u64) -> Result<bool, Errno> {
        Ok(self.word(entry, self.layout.entry_hashed)? == 0 && self.parent(entry)? != entry)
    }

    /// Whether the file system makes the name up.
    fn is_made_up(&self, place: Place) -> Result<bool, Errno> {
        let operations = self.word(place.entry, self.layout.entry_operations)?;
        if operations == 0 || self.word(operations, self.layout.operations_name)? == 0 {
            return Ok(false);
        }
        let is_root = self.parent(place.entry)? == place.entry;
        Ok(!is_root || place.entry != self.word(place.mount, self.layout.mount_root)?)
    }

    /// `d_dname` of those file systems that are known by their magic numbers.
    fn made_up(&self, entry: u64, name: &mut Name<'_>) -> Result<(), Errno> {
        let super_block = self.word(entry, self.layout.entry_super)?;
        match self.word(super_block, self.layout.super_magic)? {
            PIPEFS => self.numbered(b"pipe:[", entry, name),
            SOCKFS => self.numbered(b"socket:[", entry, name),
            ANON_INODE_FS => {
                let kind = b"anon_inode:";
                let room = name.buffer.len().min(MADE_UP);
                if self.length(entry)? + kind.len() as u64 + 1 > room as u64 {
                    return Err(ENAMETOOLONG);
                }
                name.prepend(&[0]);
                self.prepend_name(name, entry)?;
                name.prepend(kind);
                Ok(())
            }
            TMPFS | HUGETLBFS => {
                name.prepend(b" (deleted)\0");
                self.prepend_name(name, entry)?;
                name.prepend(b"/");
                Ok(())
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    fn numbered(&self, kind: &[u8], entry: u64, name: &mut Name<'_>) -> Result<(), Errno> {
        let inode = self.word(entry, self.layout.entry_inode)?;
        let mut number = self.word(inode, self.layout.inode_number)?;
        let mut text = [0; MADE_UP];
        let mut at = MADE_UP - 2;
        text[at] = b']';
        loop {
            at -= 1;
            text[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        at -= kind.len();
        text[at..at + kind.len()].copy_from_slice(kind);
        if text.len() - at > name.buffer.len() {
            return Err(ENAMETOOLONG);
        }
        name.prepend(&text[at..]);
        Ok(())
    }

    /// `__prepend_path()`; `false` where the walk leaves every mount.
    fn walk(&self, from: Place, root: Place, name: &mut Name<'_>) -> Result<bool, Stop> {
        let mut here = from;
        while here != root {
            self.run.work.units(price::STEP)?;
            if here.entry == self.word(here.mount, self.layout.mount_root)? {
                let above = Place {
                    mount: self.mount_of(here.mount)?,
                    entry: self.word(here.mount, self.layout.mount_point)?,
                };
                if above.mount == here.mount {
                    return Ok(true);
                }
                here = above;
                continue;
            }
            let parent = self.parent(here.entry)?;
            if parent == here.entry {
                return Ok(false);
            }
            if !self.prepend_name(name, here.entry)? || !name.prepend(b"/") {
                return Ok(true);
            }
            here.entry = parent;
        }
        Ok(true)
    }

    /// The mount that `mount` is mounted on, itself if none.
    fn mount_of(&self, mount: u64) -> Result<u64, Errno> {
        let above = self.word(mount, self.layout.mount_parent)?;
        Ok(above.wrapping_add_signed(self.layout.mount_inside.into()))
    }

    fn path(&self, path: u64, to: GuestSlice<'_>) -> Result<u64, Stop> {
        let place = Place {
            mount: self.word(path, self.layout.path_mount)?,
            entry: self.word(path, self.layout.path_entry)?,
        };
        let root = Place {
            mount: self.layout.root_mount,
            entry: self.layout.root_entry,
        };
        let mut name = Name::new(to);
        if self.is_made_up(place)? {
            self.made_up(place.entry, &mut name)?;
            return name.finish();
        }
        match self.is_unlinked(place.entry)? {
            true => name.prepend(b" (deleted)\0"),
            false => name.prepend(&[0]),
        };
        let end = name;
        if !self.walk(place, root, &mut name)? {
            name = end;
        }
        if name.start == end.start {
            name.prepend(b"/");
        }
        name.finish()
    }
}

/// The length with NUL, or what is wrong.
pub(super) fn d_path<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let to = run.slice(args[1], u64::from(args[2] as u32))?;
    if to.is_empty() {
        return Ok(0);
    }
    let Some(layout) = run.host.path_layout() else {
        return Ok(Errno::EFAULT.as_r0());
    };
    // The first load that faults ends it, but one of a name.
    run.work
        .units(2 * price::STEP + 2 * price::FAULT + price::NUMBER)?;
    // It is made at the end of the buffer, and moved.
    run.work.bytes(to.len() as u64)?;
    (Paths { run, layout }).path(args[0], to).or_else(Stop::r0)
}

//! A map, read and written as through bpf(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use abi::map_types::MapType;
use abi::uapi::{self, MapElement, MapInfo};
use helpers::maps::{self, Inner};

use super::ioctl::{call, text, zeroed};
use super::{Object, Result};
use crate::values::Placed;

/// What to create.
#[derive(Clone, Copy, Debug)]
pub struct MapSpec<'a> {
    /// Its name.
    pub name: &'a str,
    /// The kernel's number of its type.
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Elements at most.
    pub max_entries: u32,
    /// `map_flags`.
    pub flags: u32,
    /// For a map of maps: what its maps must be.
    pub inner: Option<Inner>,
}

/// A map.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    info: MapInfo,
    /// The value of its import in module `map`; 0 unless this value created the map.
    pub handle: u64,
    /// Guest pointer of element 0 where elements lie in order; 0 unless this value created the map.
    pub values: u64,
}

impl Object for Map {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Map {
    pub(super) fn from_fd(fd: OwnedFd) -> Result<Self> {
        let mut info: MapInfo = zeroed();
        call(&fd, "MAP_INFO", uapi::MAP_INFO, &mut info, "map")?;
        Ok(Map {
            fd,
            info,
            handle: 0,
            values: 0,
        })
    }

    /// What the device says about it.
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Its name.
    pub fn name(&self) -> String {
        text(&self.info.name)
    }

    /// Its number in its sandbox: what a map of maps is given.
    pub fn number(&self) -> u32 {
        self.info.number
    }

    /// Where it is, for the module's imports.
    pub fn placed(&self) -> Placed {
        Placed {
            name: self.name(),
            handle: self.handle,
            values: self.values,
            entries: self.info.max_entries,
            apart: maps::apart(self.info.value_size, self.info.max_entries),
        }
    }

    /// Bytes that [`Map::lookup`] gives: for per-CPU maps one padded value per possible CPU.
    pub fn value_bytes(&self, cpus: u32) -> usize {
        use MapType::{LruPercpuHash, PercpuArray, PercpuCgroupStorage, PercpuHash};
        let size = self.info.value_size as usize;
        match MapType::from_id(self.info.map_type) {
            Some(PercpuArray | PercpuHash | LruPercpuHash | PercpuCgroupStorage) => {
                size.next_multiple_of(8) * cpus as usize
            }
            _ => size,
        }
    }

    /// The value at `key`, if it is there.
    pub fn lookup(&self, key: &[u8], cpus: u32) -> Result<Option<Vec<u8>>> {
        assert_eq!(
            key.len(),
            self.info.key_size as usize,
            "key of {}",
            self.name()
        );
        let mut value = vec![0u8; self.value_bytes(cpus)];
        let mut arg = MapElement {
            key: key.as_ptr() as u64,
            value: value.as_mut_ptr() as u64,
            flags: 0,
        };
        Ok(self
            .element("MAP_LOOKUP", uapi::MAP_LOOKUP, &mut arg)?
            .then_some(value))
    }

    /// Sets the value at `key`.
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<()> {
        assert_eq!(
            key.len(),
            self.info.key_size as usize,
            "key of {}",
            self.name()
        );
        assert!(
            value.len() >= self.info.value_size as usize,
            "value of {}",
            self.name()
        );
        let mut arg = MapElement {
            key: key.as_ptr() as u64,
            value: value.as_ptr() as u64,
            flags,
        };
        call(
            &self.fd,
            "MAP_UPDATE",
            uapi::MAP_UPDATE,
            &mut arg,
            &self.name(),
        )
        .map(drop)
    }

    /// Removes `key`; whether it was there.
    pub fn delete(&self, key: &[u8]) -> Result<bool> {
        assert_eq!(
            key.len(),
            self.info.key_size as usize,
            "key of {}",
            self.name()
        );
        let mut arg = MapElement {
            key: key.as_ptr() as u64,
            value: 0,
            flags: 0,
        };
        self.element("MAP_DELETE", uapi::MAP_DELETE, &mut arg)
    }

    /// The key after `key`, or the first one.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        let mut next = vec![0u8; self.info.key_size as usize];
        let mut arg = MapElement {
            key: key.map_or(0, |k| k.as_ptr() as u64),
            value: next.as_mut_ptr() as u64,
            flags: 0,
        };
        Ok(self
            .element("MAP_NEXT_KEY", uapi::MAP_NEXT_KEY, &mut arg)?
            .then_some(next))
    }

    /// Every element, in the map's own order.
    pub fn dump(&self, cpus: u32) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut elements = Vec::new();
        let mut key = self.next_key(None)?;
        while let Some(k) = key {
            // An element deleted meanwhile is simply not there.
            if let Some(value) = self.lookup(&k, cpus)? {
                elements.push((k.clone(), value));
            }
            key = self.next_key(Some(&k))?;
        }
        Ok(elements)
    }

    /// Whether there is such an element; `ENOENT` is an answer, not a failure.
    fn element(&self, ioctl: &'static str, request: u32, arg: &mut MapElement) -> Result<bool> {
        match call(&self.fd, ioctl, request, arg, &self.name()) {
            Ok(_) => Ok(true),
            Err(e) if e.errno() == Some(libc::ENOENT) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

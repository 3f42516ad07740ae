//! Statically defined tracepoints of objects whose argument specifications are not laid out as the libbpf here writes them:
//! `usdt.bpf.h` is compiled into an object, and the struct grew in libbpf 1.7. What libbpf would write there the program
//! would misread without a word. So these specifications are written by the object's own BTF.

use std::cell::Cell;
use std::slice;

use anyhow::{Context, Result, bail};
use libbpf_rs::libbpf_sys::{bpf_map__btf_value_type_id, bpf_object__btf, btf__raw_data};
use libbpf_rs::{
    AsRawLibbpf, Link, MapCore, MapFlags, MapHandle, Object, ProgramMut, UprobeMultiOpts,
    UprobeOpts,
};

use bpf2wasm::btf::Btf;

use crate::attach::{files, usdt};

/// An object's own specifications.
pub(super) struct Specifications {
    layout: usdt::Layout,
    map: MapHandle,
    next: Cell<u32>,
}

impl Specifications {
    /// Those of `object`, where libbpf's would be misread.
    pub(super) fn of(object: &Object) -> Result<Option<Self>> {
        let mut maps = object.maps();
        let Some(map) = maps.find(|map| map.name() == usdt::SPECS) else {
            return Ok(None);
        };
        // SAFETY: the map is the object's; the call reads a number.
        let ty = unsafe { bpf_map__btf_value_type_id(map.as_libbpf_object().as_ptr()) };
        let btf = btf(object).map(|bytes| Btf::parse(&bytes)).transpose()?;
        let layout = btf.and_then(|btf| usdt::Layout::of(ty, map.value_size(), &btf));
        let layout = layout.with_context(|| {
            format!(
                "{}: its values' type is not that of any libbpf",
                usdt::SPECS
            )
        })?;
        if layout.is_libbpfs() {
            return Ok(None);
        }
        Ok(Some(Specifications {
            layout,
            map: MapHandle::try_from(&map)?,
            next: Cell::new(0),
        }))
    }

    /// Attaches `program` to `target`, which is `PATH:PROVIDER:NAME`; `pid` as libbpf has it.
    pub(super) fn attach(
        &self,
        program: &ProgramMut<'_>,
        pid: i32,
        (path, provider, name): (&str, &str, &str),
    ) -> Result<Vec<Link>> {
        let places = files::find(path).and_then(|path| {
            let places = usdt::places(&path, provider, name, Some(&self.layout))?;
            Ok((path, places))
        });
        let (path, places) = match places {
            Ok(places) => places,
            Err(why) => bail!(why),
        };
        let specs: Vec<_> = places.iter().map(|place| place.spec.clone()).collect();
        let (numbers, new) = usdt::number(&specs, self.next.get());
        for (index, spec) in (self.next.get()..).zip(&new) {
            self.map.update(&index.to_ne_bytes(), spec, MapFlags::ANY)?;
        }
        self.next.set(self.next.get() + new.len() as u32);
        // Where the kernel can, libbpf loads usdt programs for a link at many places, and they take no other.
        let all = UprobeMultiOpts {
            offsets: places.iter().map(|place| place.offset as usize).collect(),
            ref_ctr_offsets: places
                .iter()
                .map(|place| place.semaphore as usize)
                .collect(),
            cookies: numbers.clone(),
            ..UprobeMultiOpts::default()
        };
        if let Ok(link) = program.attach_uprobe_multi_with_opts(pid, &path, "", all) {
            return Ok(vec![link]);
        }
        let attach = |(place, cookie): (&usdt::Place, u64)| {
            let options = UprobeOpts {
                cookie,
                ref_ctr_offset: place.semaphore as usize,
                ..UprobeOpts::default()
            };
            Ok(program.attach_uprobe_with_opts(pid, &path, place.offset as usize, options)?)
        };
        places.iter().zip(numbers).map(attach).collect()
    }
}

/// The bytes of the object's BTF.
fn btf(object: &Object) -> Option<Vec<u8>> {
    let mut size = 0;
    // SAFETY: the object is loaded; its BTF, if it has one, is that many bytes as long as it lives, and is copied.
    unsafe {
        let btf = bpf_object__btf(object.as_libbpf_object().as_ptr());
        if btf.is_null() {
            return None;
        }
        let bytes = btf__raw_data(btf, &raw mut size);
        (!bytes.is_null())
            .then(|| slice::from_raw_parts(bytes.cast::<u8>(), size as usize).to_vec())
    }
}

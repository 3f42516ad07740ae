//! The kernel's own eBPF: everybody's, as bpftool shows it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, c_char};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result};
use bpf2wasm::btf::Btf;
use libbpf_rs::query::{LinkInfo, LinkTypeInfo, PerfEventType, TracingLinkInfo};
use libbpf_rs::{MapCore, MapFlags, MapHandle, ProgramAttachType};

use super::{Condition, Inventory, Link, Map, MapInfo, Program, Types, type_name};
use crate::probe::Table;
use crate::profile::Profile;
use crate::record::Record;
use crate::session::Elements;
use crate::session::native::{elements, info};

/// The running kernel.
pub struct Kernel;

impl Inventory for Kernel {
    fn programs(&self) -> Result<Vec<Program>> {
        let all = info::Kind::Program.all()?;
        all.iter().map(|(id, fd)| program(*id, fd)).collect()
    }

    fn links(&self) -> Result<Vec<Link>> {
        let programs = self.programs()?;
        let name_of = |id| {
            let program = programs.iter().find(|program| program.id == Some(id));
            program.map_or_else(|| format!("id {id}"), |program| program.name.clone())
        };
        let mut types = KernelTypes::default();
        let mut links = Vec::new();
        for (id, fd) in info::Kind::Link.all()? {
            let info = LinkInfo::from_fd(fd.as_fd()).with_context(|| format!("link {id}"))?;
            let (attach, target) = attachment(&info.info, &mut types)?;
            links.push(Link {
                id,
                attach: attach.to_owned(),
                target,
                program: name_of(info.prog_id),
                module: None,
                module_name: None,
                pinned: None,
            });
        }
        Ok(links)
    }

    fn pinned(&self, kind: info::Kind, file: &str) -> Result<u32> {
        kind.pinned(file)
    }

    fn maps(&self) -> Result<Vec<Box<dyn Map + '_>>> {
        let mut maps: Vec<Box<dyn Map>> = Vec::new();
        for (id, fd) in info::Kind::Map.all()? {
            let told = libbpf_rs::MapInfo::new(fd.as_fd()).with_context(|| format!("map {id}"))?;
            let info = MapInfo {
                id,
                map_type: type_name(told.info.type_),
                name: told.name()?.to_owned(),
                module: None,
                module_name: None,
                key_size: told.info.key_size,
                value_size: told.info.value_size,
                max_entries: told.info.max_entries,
            };
            maps.push(Box::new(Shared {
                map: MapHandle::from_map_id(id).with_context(|| format!("map {id}"))?,
                info,
                types: [
                    told.info.btf_id,
                    told.info.btf_key_type_id,
                    told.info.btf_value_type_id,
                ],
            }));
        }
        Ok(maps)
    }
}

fn program(id: u32, fd: &OwnedFd) -> Result<Program> {
    let info = info::program(fd.as_fd())?;
    Ok(Program {
        id: Some(id),
        program_type: info::program_type(info.type_),
        place: None,
        name: info::full_name(fd.as_fd(), &info, &name(&info.name)),
        export: None,
        tag: Some(info.tag.iter().map(|byte| format!("{byte:02x}")).collect()),
        runs: info.run_cnt,
        misses: info.recursion_misses,
        traps: None,
    })
}

/// Text of the kernel's, up to its NUL.
fn name(chars: &[c_char]) -> String {
    let bytes = chars.iter().map(|c| *c as u8).take_while(|c| *c != 0);
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

/// How something is attached, in the words of sections, and to what.
fn attachment(
    info: &LinkTypeInfo,
    types: &mut KernelTypes,
) -> Result<(&'static str, Option<String>)> {
    Ok(match info {
        LinkTypeInfo::RawTracepoint(point) => ("raw_tracepoint", Some(point.name.clone())),
        LinkTypeInfo::Tracing(link) => (tracing(link), types.name(link)?),
        LinkTypeInfo::PerfEvent(link) => perf_event(&link.event_type),
        LinkTypeInfo::Cgroup(_) => ("cgroup", None),
        LinkTypeInfo::Iter => ("iter", None),
        LinkTypeInfo::NetNs(_) => ("netns", None),
        LinkTypeInfo::Xdp(link) => ("xdp", Some(format!("interface {}", link.ifindex))),
        LinkTypeInfo::StructOps(_) => ("struct_ops", None),
        LinkTypeInfo::Netfilter(_) => ("netfilter", None),
        LinkTypeInfo::KprobeMulti(link) => {
            ("kprobe.multi", Some(format!("{} functions", link.count)))
        }
        LinkTypeInfo::UprobeMulti(link) => ("uprobe.multi", Some(format!("{} places", link.count))),
        LinkTypeInfo::Tcx(link) => ("tcx", Some(format!("interface {}", link.ifindex))),
        LinkTypeInfo::Netkit(link) => ("netkit", Some(format!("interface {}", link.ifindex))),
        LinkTypeInfo::SockMap(_) => ("sockmap", None),
        LinkTypeInfo::Unknown => ("unknown", None),
    })
}

fn tracing(link: &TracingLinkInfo) -> &'static str {
    match link.attach_type {
        ProgramAttachType::TraceFentry => "fentry",
        ProgramAttachType::TraceFexit => "fexit",
        ProgramAttachType::ModifyReturn => "fmod_ret",
        ProgramAttachType::TraceRawTp => "tp_btf",
        ProgramAttachType::LsmMac => "lsm",
        _ => "tracing",
    }
}

fn perf_event(event: &PerfEventType) -> (&'static str, Option<String>) {
    let text = |name: &Option<CString>| {
        let name = name.as_ref()?;
        Some(name.to_string_lossy().into_owned())
    };
    match event {
        PerfEventType::Tracepoint { name, .. } => ("tracepoint", text(name)),
        PerfEventType::Kprobe {
            func_name,
            is_retprobe,
            offset,
            ..
        } => {
            let attach = if *is_retprobe { "kretprobe" } else { "kprobe" };
            let target = text(func_name).map(|function| match offset {
                0 => function,
                offset => format!("{function}+{offset:#x}"),
            });
            (attach, target)
        }
        PerfEventType::Uprobe {
            file_name,
            is_retprobe,
            offset,
            ..
        } => {
            let attach = if *is_retprobe { "uretprobe" } else { "uprobe" };
            let target = text(file_name).map(|file| format!("{file}:{offset:#x}"));
            (attach, target)
        }
        PerfEventType::Event { .. } => ("perf_event", None),
        // Before 6.6 the kernel does not tell.
        PerfEventType::Unknown(_) => ("perf_event", None),
    }
}

/// Types of the kernel and its modules, by their ids.
#[derive(Default)]
struct KernelTypes(HashMap<u32, Btf>);

impl KernelTypes {
    /// What a program of tracing is attached to.
    fn name(&mut self, link: &TracingLinkInfo) -> Result<Option<String>> {
        let id = link.target_obj_id;
        if id == 0 {
            return Ok(None);
        }
        let btf = match self.0.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(info::btf(id)?),
        };
        let ty = btf.get(link.target_btf_id);
        Ok(ty.map(|ty| ty.name.trim_start_matches("btf_trace_").to_owned()))
    }
}

/// A map of the kernel's.
struct Shared {
    map: MapHandle,
    info: MapInfo,
    /// Ids of the BTF, and in it of the key's and the value's types.
    types: [u32; 3],
}

impl Map for Shared {
    fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Of a longer name the kernel keeps the start.
    fn is_named(&self, name: &str) -> bool {
        let kept = name.as_bytes().get(..info::KERNEL_NAME);
        self.info.name.as_bytes() == kept.unwrap_or(name.as_bytes())
    }

    fn types(&self) -> Result<Types> {
        let [btf, key, value] = self.types;
        if btf == 0 {
            return Ok(Types::default());
        }
        Ok(Types {
            btf: Some(info::btf(btf)?),
            key,
            value,
        })
    }

    fn value_bytes(&self) -> Result<usize> {
        let size = self.info.value_size as usize;
        Ok(match self.map.map_type().is_percpu() {
            true => size.next_multiple_of(8) * libbpf_rs::num_possible_cpus()?,
            false => size,
        })
    }

    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        elements::lookup(&self.map, key)
    }

    fn update(&self, key: &[u8], value: &[u8], condition: Condition) -> Result<()> {
        let flags = match condition {
            Condition::Any => MapFlags::ANY,
            Condition::NoExist => MapFlags::NO_EXIST,
            Condition::Exist => MapFlags::EXIST,
        };
        elements::update(&self.map, key, value, flags)
    }

    fn delete(&self, key: &[u8]) -> Result<bool> {
        elements::delete(&self.map, key)
    }

    fn elements(&self) -> Result<Elements> {
        elements::all(&self.map)
    }

    fn table(&self, elements: &Elements) -> Result<Table> {
        let Types { btf, key, value } = self.types()?;
        let btf = btf.as_ref();
        let per_cpu = self.map.map_type().is_percpu();
        Ok(Table::of(
            &self.info.name,
            elements,
            per_cpu.then_some(self.info.value_size as usize),
            |bytes| Record::read(btf, key, bytes),
            |bytes| Record::read(btf, value, bytes),
        ))
    }

    fn profile(&self) -> Result<Profile> {
        Ok(Profile::default())
    }
}

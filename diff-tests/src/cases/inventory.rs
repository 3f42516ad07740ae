//! The verbs that show and change what is loaded, on either runtime; the kernel's own eBPF beside bpftool.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use loader::session::Elements;
use serde_json::Value;

use super::Case;
use super::run::{json, wprobe};
use crate::oracle::native::Native;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("inventory::of_the_module", of_the_module),
    ("inventory::of_the_kernel_is_bpftools", of_the_kernel),
];

fn of_the_module() -> Result<()> {
    let path = guest::scratch("inventory")?.join("mkdirsnoop.bpf.o");
    fs::write(&path, corpus::object("mkdirsnoop")?)?;
    json(&format!("load {} --name one", path.display()))?;
    json(&format!("load {} --name two", path.display()))?;
    json("activate one")?;
    syscalls::mkdir(&guest::scratch("inventory-made")?, 1, 0o755)?;
    let links = json("link list")?;
    let link = &links[0];
    ensure!(link["pinned"] == true && link["module"].is_u64(), "{links}");
    ensure!(
        json(&format!("link show {}", link["id"]))?[0] == *link,
        "{links}"
    );
    let programs = json("prog list")?;
    let ran = programs.as_array().into_iter().flatten();
    ensure!(ran.filter(|p| p["runs"] != 0).count() > 0, "{programs}");
    let maps = json("map list")?;
    let maps = maps.as_array().context("maps")?;
    let ours = maps.iter().filter(|map| map["name"] == "directories");
    let ids: Vec<_> = ours.map(|map| map["id"].clone()).collect();
    ensure!(ids.len() == 2, "{maps:?}");
    let error = wprobe("map dump name directories")?.stderr;
    let error = String::from_utf8_lossy(&error);
    ensure!(
        error.contains("several maps are named directories"),
        "{error}"
    );
    let device = guest::device()?;
    let map = device.map(ids[0].as_u64().context("id")? as u32)?;
    let cpus = device.about()?.cpus;
    change(&ids[0], "kernel-wasm", || Ok(map.dump(cpus)?))?;
    // Whoever has a descriptor keeps the module.
    drop(map);
    let unloaded = json("unload --all")?;
    ensure!(
        unloaded.as_array().is_some_and(|ids| ids.len() == 2),
        "{unloaded}"
    );
    ensure!(
        json("list")?.as_array().is_some_and(Vec::is_empty),
        "unloaded"
    );
    Ok(())
}

fn of_the_kernel() -> Result<()> {
    let objects = [
        ("mkdirsnoop", "mkdir_entry"),
        ("attach_raw", "sys_enter"),
        ("attach_function", "read_enter"),
    ];
    let mut loaded = Vec::new();
    for (object, program) in objects {
        let mut native = Native::load(corpus::object(object)?, object, &[program])?;
        native.attach()?;
        loaded.push(native);
    }
    syscalls::mkdir(&guest::scratch("inventory-made")?, 1, 0o755)?;
    same("prog", &["id", "type", "name", "tag"])?;
    let of_maps = ["id", "type", "name", "bytes_key", "bytes_value"];
    same("map", &[&of_maps[..], &["max_entries"]].concat())?;
    same("link", &["id"])?;
    let links = json("link list --runtime native")?;
    for (program, attach, target) in [
        ("sys_enter", "raw_tracepoint", "sys_enter"),
        ("read_enter", "fentry", "vfs_read"),
    ] {
        let mut rows = links.as_array().into_iter().flatten();
        let link = rows.find(|link| link["program"] == program);
        ensure!(
            link.is_some_and(|link| link["type"] == attach && link["target"] == target),
            "{links}"
        );
    }
    let native = &loaded[0];
    let id = native.map_id("directories")?;
    pinned(id)?;
    change(&id.into(), "native", || native.dump("directories"))
}

/// Map `id` is found by where bpftool pins it, and as nothing else.
fn pinned(id: u32) -> Result<()> {
    let path = "/sys/fs/bpf/wprobe-inventory";
    let word = id.to_string();
    guest::succeed(Command::new("bpftool").args(["map", "pin", "id", &word, path]))?;
    let shown = json(&format!("map show pinned {path} --runtime native"));
    let other = wprobe(&format!("prog show pinned {path} --runtime native"));
    fs::remove_file(path)?;
    let shown = shown?;
    ensure!(shown[0]["id"] == id, "{shown}");
    let error = other?.stderr;
    let error = String::from_utf8_lossy(&error);
    ensure!(error.contains("is no program"), "{error}");
    Ok(())
}

/// Compares `fields` of what both commands list.
fn same(kind: &str, fields: &[&str]) -> Result<()> {
    let output = guest::succeed(Command::new("bpftool").args(["-j", kind, "list"]))?;
    let expected: Value = serde_json::from_slice(&output.stdout)?;
    let ours = json(&format!("{kind} list --runtime native"))?;
    let rows = |list: &Value| -> Vec<Vec<Value>> {
        let rows = list.as_array().into_iter().flatten();
        // A field that is empty is left out by bpftool.
        let text = |row: &Value, field: &&str| match &row[*field] {
            Value::Null => "".into(),
            value => value.clone(),
        };
        rows.map(|row| fields.iter().map(|field| text(row, field)).collect())
            .collect()
    };
    ensure!(
        !rows(&ours).is_empty() && rows(&ours) == rows(&expected),
        "{kind}: bpftool {expected}, wprobe {ours}"
    );
    Ok(())
}

/// Shows the one element of map `id`, a directory; removes it, and puts it back as it was.
fn change(id: &Value, runtime: &str, dump: impl Fn() -> Result<Elements>) -> Result<()> {
    let shown = json(&format!("map dump id {id} --runtime {runtime}"))?;
    ensure!(shown[0]["value"]["mode"] == 0o755, "{shown}");
    let before = dump()?;
    let (key, value) = before.first().context("an element")?;
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!(" {b:02x}")).collect() };
    let (key, value) = (hex(key), hex(value));
    let map = format!("id {id} --runtime {runtime} key hex{key}");
    json(&format!("map delete {map}"))?;
    ensure!(dump()?.is_empty(), "it was deleted");
    let lookup = wprobe(&format!("map lookup {map}"))?;
    ensure!(
        lookup.status.code() == Some(1),
        "looked up what is not there"
    );
    json(&format!("map update {map} value hex{value}"))?;
    ensure!(dump()? == before, "it is back");
    let element = json(&format!("map lookup {map}"))?;
    ensure!(element["value"]["mode"] == 0o755, "{element}");
    Ok(())
}

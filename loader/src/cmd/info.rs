//! `wprobe info`.

use abi::map_types::MapType;
use anyhow::Result;
use loader::device::{Map, Program, text};
use loader::open::Input;
use loader::origin::Origin;
use loader::resident::{Resident, trap};
use serde_json::{Value, json};

use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe info 3
  wprobe info vfsstat --json")]
pub(super) struct Args {
    /// The module's id or name
    id: String,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let device = device()?;
    let resident = Resident::find(&device, &args.id)?;
    let input = resident.input()?;
    let info = &resident.info;
    let origin = Origin::of(info);
    let programs = resident.module.programs()?;
    let links = resident.links()?;
    let maps = resident.maps()?;

    let mut out = format!(
        "module {}: {}\n  {}, {} bytes of wasm, {}, sandbox {}, budget {} a run\n  {}, loaded {} ago by {}\n",
        info.id,
        resident.name(),
        if info.exclusive != 0 {
            "hand-written, one instance"
        } else {
            "one instance per CPU"
        },
        info.wasm_size,
        origin.engine(info),
        info.sandbox,
        info.fuel,
        origin.state,
        origin.ago(),
        origin.by()
    );
    for program in &programs {
        out += &program_text(program, &input);
    }
    for (_, link) in &links {
        out += &format!(
            "  link {}: {} on {}\n",
            link.id,
            input.program(&text(&link.program)),
            text(&link.target)
        );
    }
    for map in &maps {
        out += &format!(
            "  map {}: {} ({})\n",
            map.info().id,
            map.name(),
            map_type(map)
        );
    }
    let json = json!({
        "id": info.id,
        "name": resident.name(),
        "origin": origin,
        "sandbox": info.sandbox,
        "exclusive": info.exclusive != 0,
        "reports": info.reports != 0,
        "wasm_size": info.wasm_size,
        "native_size": info.native,
        "fuel": info.fuel,
        "trap_limit": info.trap_limit,
        "programs": programs.iter().map(|p| program_json(p, &input)).collect::<Vec<_>>(),
        "links": links.iter().map(|(_, l)| json!({
            "id": l.id,
            "program": input.program(&text(&l.program)),
            "export": text(&l.program),
            "target": text(&l.target),
            "pinned": l.pinned != 0,
        })).collect::<Vec<_>>(),
        "maps": maps.iter().map(|m| json!({
            "id": m.info().id,
            "name": m.name(),
            "type": map_type(m),
        })).collect::<Vec<_>>(),
    });
    Ok(Output { text: out, json })
}

fn program_text(program: &Program, input: &Input) -> String {
    let mut line = format!(
        "  program {}: {} runs, {} misses, {} traps",
        input.program(&text(&program.name)),
        program.runs,
        program.misses,
        program.traps
    );
    if let Some(average) = program.nanoseconds.checked_div(program.timed) {
        line += &format!(", {average} ns a run");
    }
    if let Some(why) = last_trap(program, input) {
        line += &format!(", last: {why}");
    }
    line + if program.disabled != 0 {
        ", DISABLED\n"
    } else {
        "\n"
    }
}

fn program_json(program: &Program, input: &Input) -> Value {
    json!({
        "name": input.program(&text(&program.name)),
        "export": text(&program.name),
        "runs": program.runs,
        "misses": program.misses,
        "traps": program.traps,
        "last_trap": last_trap(program, input),
        "disabled": program.disabled != 0,
        "timed": program.timed,
        "nanoseconds": program.nanoseconds,
    })
}

fn last_trap(program: &Program, input: &Input) -> Option<String> {
    (program.traps > 0).then(|| trap(Some(input), program.last_trap, program.last_site))
}

fn map_type(map: &Map) -> &'static str {
    MapType::from_id(map.info().map_type).map_or("unknown", MapType::name)
}

//! The picture of a file of results.

use serde_json::{Map, Value};

use super::svg::{Dots, Drawing, Line};

/// Who is shown beside native eBPF.
const SHOWN: &[&str] = &["jit", "wasmi", "rbpf JIT", "wasmtime"];

/// As SVG: what there is of each mode.
pub(super) fn draw(results: &Map<String, Value>) -> String {
    let mut drawing = Drawing::default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    if let Some(events) = results.get("instructions") {
        let rows = list(&events["rows"]);
        let title = "Instructions that a probe adds to an event, in parts of native eBPF's";
        drawing.dots(
            title,
            &ratios(&rows, "name", |row, _| row["of_native"].as_f64()),
        );
    }
    if let Some(compute) = results.get("compute") {
        let rows: Vec<Dots> = list(&compute["rows"]).iter().map(computed).collect();
        drawing.dots(
            "Time of programs that compute, in parts of the kernel's JIT",
            &rows,
        );
    }
    if let Some(footprint) = results.get("footprint") {
        let rows = list(&footprint["rows"]);
        let title = "Time from the object to the first event, in parts of libbpf's";
        drawing.dots(
            title,
            &ratios(&rows, "tool", |row, _| row["of_native"].as_f64()),
        );
        let title = "Memory of a loaded tool in the kernel, in parts of native eBPF's";
        let memory =
            |row: &Value, native: &Value| Some(row["kib"].as_f64()? / native["kib"].as_f64()?);
        drawing.dots(title, &ratios(&rows, "tool", memory));
    }
    if let Some(scaling) = results.get("scaling") {
        for (what, title) in [
            (
                "elements",
                "Instructions of a look-up and an update, by elements of the table",
            ),
            (
                "elsewhere",
                "Instructions of an event, by loaded programs, all others elsewhere",
            ),
        ] {
            let curves = list(&scaling["curves"]);
            let curves = curves.iter().filter(|curve| curve["what"] == what);
            let lines: Vec<Line> = curves.filter_map(line).collect();
            drawing.lines(title, &lines);
        }
    }
    drawing.finish()
}

/// Of rows of one `name`, native's and others, those others in parts of native's.
fn ratios(rows: &[Value], name: &str, part: impl Fn(&Value, &Value) -> Option<f64>) -> Vec<Dots> {
    let natives = rows.iter().filter(|row| row["runtime"] == "native");
    let dots = natives.map(|native| {
        let others = rows.iter().filter(|row| row[name] == native[name]);
        let value = |row: &Value| {
            let of = row["runtime"].as_str()?;
            let is_shown = SHOWN.contains(&of);
            Some((of.to_owned(), part(row, native)?)).filter(|_| is_shown)
        };
        Dots {
            name: text(&native[name]),
            values: others.filter_map(value).collect(),
        }
    });
    dots.collect()
}

fn computed(row: &Value) -> Dots {
    let values = row["others"].as_array().into_iter().flatten();
    let value = |pair: &Value| Some((text(&pair[0]), pair[1].as_f64()?));
    let is_shown = |(of, _): &(String, f64)| SHOWN.contains(&of.as_str());
    Dots {
        name: text(&row["name"]),
        values: values.filter_map(value).filter(is_shown).collect(),
    }
}

fn line(curve: &Value) -> Option<Line> {
    let points = curve["points"].as_array()?.iter();
    Some(Line {
        of: text(&curve["runtime"]),
        points: points
            .filter_map(|point| Some((point[0].as_f64()?, point[1].as_f64()?)))
            .collect(),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_that_there_is_is_drawn() {
        let row = |tool: &str, runtime: &str, kib: f64| json!({ "tool": tool, "runtime": runtime, "kib": kib, "of_native": kib });
        let results = json!({ "footprint": { "rows": [
            row("opensnoop", "native", 1.0), row("opensnoop", "jit", 2.0), row("opensnoop", "wasmi", 4.0)
        ] } });
        let svg = draw(results.as_object().expect("an object"));
        // Two panels, of two runtimes each, and what their colours are.
        assert_eq!(svg.matches("<circle").count(), 8);
        assert!(svg.contains("opensnoop") && svg.contains("libbpf"));
    }
}

//! `cargo xtask bench --scaling`: instructions that a probe adds to an event as maps, loaded programs and busy CPUs become more, as
//! `guest-bench` counts them in a guest with one CPU and in one with two; and events a second on one CPU and on two.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Measured, Plan, guest_bench, measured, quantile, release, sharing};

/// What grows, and what is attached.
const TITLES: &[(&str, &str)] = &[
    ("own counters", "CPUs, each with a counter"),
    ("a table", "CPUs, with one table of 1000"),
    ("elements", "elements of a table"),
    ("elsewhere", "programs, one of them here"),
    ("here", "programs, all of them here"),
];

/// A runtime's cost of one thing, as it grows.
#[derive(Debug, Serialize)]
struct Curve {
    what: String,
    runtime: String,
    /// How many there are, and the instructions added.
    points: Vec<(u64, f64)>,
}

/// Measures in two guests.
pub(super) fn run(plan: &Plan) -> Result<Measured> {
    let program = release("guest-bench")?;
    let amount = if plan.quick { "quick" } else { "full" };
    let mut curves = Vec::new();
    let mut kernel = Value::Null;
    for (mode, cpus) in [("scaling", 1), ("cpus", 2)] {
        let words = vec![mode.to_owned(), amount.to_owned()];
        let mut guest = guest_bench(plan, &program, words)?;
        (guest.counted, guest.cpus) = (true, cpus);
        let report = measured(&guest)?;
        add(&mut curves, &report)?;
        kernel = report["kernel"].clone();
    }
    let rates = rates(plan, &program)?;
    let sharing = sharing::run(plan, &program)?;
    Ok(Measured {
        text: table(&curves) + &rates_table(&rates) + &sharing::table(&sharing),
        json: json!({
            "kernel": kernel, "unit": "instructions", "curves": curves, "rates": rates, "shared": sharing,
        }),
    })
}

/// Events a second under a runtime's program.
#[derive(Debug, Serialize)]
struct Rate {
    what: String,
    runtime: String,
    /// On one CPU and on two, in the median.
    one: f64,
    two: f64,
    /// The median of two's in parts of one's, of turns next to each other.
    ratio: f64,
}

/// Measures in a guest whose CPUs run at the same time, each on one of this machine's.
fn rates(plan: &Plan, program: &Path) -> Result<Vec<Rate>> {
    let (rounds, calls) = if plan.quick {
        (5, 20_000)
    } else {
        (31, 50_000)
    };
    let words = ["rates".to_owned(), rounds.to_string(), calls.to_string()];
    let mut guest = guest_bench(plan, program, words.to_vec())?;
    (guest.parallel, guest.cpus) = (true, 2);
    let report = measured(&guest)?;
    let rows = report["rows"].as_array().context("rows")?;
    rows.iter().map(rate).collect()
}

fn rate(row: &Value) -> Result<Rate> {
    let text = |key: &str| row[key].as_str().map(str::to_owned).context("a name");
    let list = |key: &str| -> Result<Vec<f64>> {
        let numbers = row[key].as_array().context("rates")?;
        numbers
            .iter()
            .map(|n| n.as_f64().context("a rate"))
            .collect()
    };
    let median = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        quantile(&numbers, 0.5).context("no turns")
    };
    let (one, two) = (list("one")?, list("all")?);
    let ratios = one.iter().zip(&two).map(|(one, two)| two / one).collect();
    Ok(Rate {
        what: text("what")?,
        runtime: text("runtime")?,
        one: median(one)?,
        two: median(two)?,
        ratio: median(ratios)?,
    })
}

fn rates_table(rates: &[Rate]) -> String {
    let mut text = format!(
        "{:<36}{:>12}{:>12}{:>9}\n",
        "events a second, on", "1 CPU", "2 CPUs", "ratio"
    );
    for rate in rates {
        let name = format!("{} {}", rate.what, rate.runtime);
        text += &format!(
            "    {name:<32}{:>12.0}{:>12.0}{:>9.2}\n",
            rate.one, rate.two, rate.ratio
        );
    }
    text
}

/// Adds the points of `report` to the curves that they are of.
fn add(curves: &mut Vec<Curve>, report: &Value) -> Result<()> {
    for point in report["points"].as_array().context("points")? {
        let text = |key: &str| point[key].as_str().context("a name");
        let (what, runtime) = (text("what")?, text("runtime")?);
        let x = point["x"].as_u64().context("an amount")?;
        let y = point["added"].as_f64().context("a cost")?;
        let is_it = |curve: &&mut Curve| curve.what == what && curve.runtime == runtime;
        match curves.iter_mut().find(is_it) {
            Some(curve) => curve.points.push((x, y)),
            None => curves.push(Curve {
                what: what.to_owned(),
                runtime: runtime.to_owned(),
                points: vec![(x, y)],
            }),
        }
    }
    Ok(())
}

fn table(curves: &[Curve]) -> String {
    let mut text = String::from("instructions that are added to an event\n");
    for (what, title) in TITLES {
        for (row, curve) in curves.iter().filter(|c| c.what == *what).enumerate() {
            if row == 0 {
                text += &format!("{title:<36}");
                for (x, _) in &curve.points {
                    text += &format!("{x:>9}");
                }
                text.push('\n');
            }
            text += &format!("    {:<32}", curve.runtime);
            for (_, y) in &curve.points {
                text += &format!("{y:>9.0}");
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_one_thing_are_one_curve() {
        let point = |x, added| json!({ "what": "here", "runtime": "jit", "x": x, "added": added });
        let mut curves = Vec::new();
        add(
            &mut curves,
            &json!({ "points": [point(1, 5.0), point(2, 6.0)] }),
        )
        .expect("sound");
        add(&mut curves, &json!({ "points": [point(50, 7.0)] })).expect("sound");
        assert_eq!(curves.len(), 1);
        assert_eq!(curves[0].points, [(1, 5.0), (2, 6.0), (50, 7.0)]);
        assert!(table(&curves).contains("programs, all of them here"));
    }

    #[test]
    fn a_ratio_is_of_turns_next_to_each_other() {
        let row = json!({ "what": "w", "runtime": "r", "one": [1.0, 10.0, 2.0], "all": [2.0, 15.0, 4.0] });
        let rate = rate(&row).expect("sound");
        assert_eq!((rate.one, rate.two, rate.ratio), (2.0, 4.0, 2.0));
        assert!(rates_table(&[rate]).contains("2.00"));
    }
}

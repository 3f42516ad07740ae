//! Drawings: panels of dots on a logarithmic axis, and of lines, one below another, as SVG.

use std::fmt::Write;

const WIDTH: f64 = 880.0;
/// Where axes begin and end.
const LEFT: f64 = 190.0;
const RIGHT: f64 = 850.0;
const ROW: f64 = 19.0;
/// Of a panel of lines.
const HEIGHT: f64 = 220.0;

/// What dots and lines are of, and their colours.
const COLOURS: &[(&str, &str)] = &[
    ("native", "#555555"),
    ("jit", "#0a7d55"),
    ("wasmi", "#c4561d"),
    ("rbpf JIT", "#7a6fc0"),
    ("wasmtime", "#2f7fc1"),
];

/// A row of a panel: what it is of, and a dot for each who has a value.
pub(super) struct Dots {
    pub(super) name: String,
    pub(super) values: Vec<(String, f64)>,
}

/// A line: whose it is, and where it goes.
pub(super) struct Line {
    pub(super) of: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Panels drawn so far.
#[derive(Default)]
pub(super) struct Drawing {
    body: String,
    bottom: f64,
}

/// From numbers to places, so that equal factors are equally long.
#[derive(Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// One that has room for all of `values`, which are above 0, and for 1.
    fn over(values: impl Iterator<Item = f64> + Clone, (from, to): (f64, f64)) -> Self {
        let low = values.clone().fold(f64::MAX, f64::min);
        let high = values.fold(low, f64::max);
        Self {
            low: low.log2().floor().exp2(),
            high: high.log2().ceil().max(low.log2().floor() + 1.0).exp2(),
            from,
            to,
        }
    }

    fn at(self, value: f64) -> f64 {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        self.from + part * (self.to - self.from)
    }

    /// Where lines go: powers of two, as few as can be read.
    fn ticks(self) -> impl Iterator<Item = f64> {
        let (low, high) = (self.low.log2() as i32, self.high.log2() as i32);
        let step = ((high - low) / 9 + 1) as usize;
        (low..=high)
            .step_by(step)
            .map(|power| f64::from(power).exp2())
    }
}

impl Drawing {
    fn text(&mut self, (x, y): (f64, f64), style: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" {style}>{text}</text>"#
        );
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        let ((x, y), (a, b)) = (from, to);
        let _ = writeln!(
            self.body,
            r#"<path d="M{x:.1} {y:.1}L{a:.1} {b:.1}" stroke="{colour}"/>"#
        );
    }

    /// A title, and what the colours of `names` are.
    fn begin(&mut self, title: &str, names: &[&str]) {
        self.bottom += 30.0;
        self.text((12.0, self.bottom), r#"font-weight="bold""#, title);
        self.bottom += 18.0;
        let mut x = LEFT;
        for name in names {
            self.dot((x, self.bottom - 4.0), name);
            self.text((x + 9.0, self.bottom), "", name);
            x += 90.0;
        }
        self.bottom += 10.0;
    }

    fn dot(&mut self, (x, y): (f64, f64), of: &str) {
        let colour = colour(of);
        let _ = writeln!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="4.5" fill="{colour}"/>"#
        );
    }

    /// Rows of dots, in parts of what is 1.
    pub(super) fn dots(&mut self, title: &str, rows: &[Dots]) {
        let values = rows.iter().flat_map(|row| &row.values);
        let ones = [1.0].into_iter();
        let axis = Axis::over(values.clone().map(|v| v.1).chain(ones), (LEFT, RIGHT));
        self.begin(title, &present(values.map(|v| v.0.as_str())));
        let (top, bottom) = (self.bottom, self.bottom + ROW * rows.len() as f64);
        for tick in axis.ticks() {
            let x = axis.at(tick);
            let colour = if tick == 1.0 { "#222222" } else { "#dddddd" };
            self.line((x, top), (x, bottom), colour);
            self.text((x, bottom + 14.0), r#"text-anchor="middle""#, &number(tick));
        }
        for (row, y) in rows
            .iter()
            .zip((0..).map(|i| top + ROW * (f64::from(i) + 0.5)))
        {
            self.text((LEFT - 12.0, y + 4.0), r#"text-anchor="end""#, &row.name);
            for (of, value) in &row.values {
                self.dot((axis.at(*value), y), of);
            }
        }
        self.bottom = bottom + 22.0;
    }

    /// Lines over a common axis.
    pub(super) fn lines(&mut self, title: &str, lines: &[Line]) {
        let points = lines.iter().flat_map(|line| &line.points);
        self.begin(title, &present(lines.iter().map(|line| line.of.as_str())));
        let (top, bottom) = (self.bottom, self.bottom + HEIGHT);
        let across = Axis::over(points.clone().map(|p| p.0), (LEFT, RIGHT));
        let up = Axis::over(points.clone().map(|p| p.1), (bottom, top));
        for tick in up.ticks() {
            let y = up.at(tick);
            self.line((LEFT, y), (RIGHT, y), "#dddddd");
            self.text(
                (LEFT - 12.0, y + 4.0),
                r#"text-anchor="end""#,
                &number(tick),
            );
        }
        let xs = lines.first().map_or(&[][..], |line| &line.points);
        for (x, _) in xs {
            let at = (across.at(*x), bottom + 14.0);
            self.text(at, r#"text-anchor="middle""#, &number(*x));
        }
        for line in lines {
            let places: Vec<_> = line
                .points
                .iter()
                .map(|(x, y)| (across.at(*x), up.at(*y)))
                .collect();
            for pair in places.windows(2) {
                self.line(pair[0], pair[1], colour(&line.of));
            }
            for place in places {
                self.dot(place, &line.of);
            }
        }
        self.bottom = bottom + 22.0;
    }

    /// All of it.
    pub(super) fn finish(self) -> String {
        let height = self.bottom + 8.0;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222222\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

fn colour(of: &str) -> &'static str {
    let row = COLOURS.iter().find(|(name, _)| *name == of);
    row.map_or("#999999", |(_, colour)| colour)
}

/// Those of [`COLOURS`] that are among `names`.
fn present<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<&'static str> {
    let is_there = |name: &&str| names.clone().any(|other| other == *name);
    COLOURS
        .iter()
        .map(|(name, _)| *name)
        .filter(is_there)
        .collect()
}

fn number(value: f64) -> String {
    match value {
        ..1.0 => format!("{value}"),
        ..10_000.0 => format!("{value:.0}"),
        ..1_000_000.0 => format!("{:.0}k", value / 1e3),
        _ => format!("{:.0}M", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_room_for_all() {
        let axis = Axis::over([0.66, 21.7].into_iter(), (0.0, 100.0));
        assert_eq!((axis.low, axis.high), (0.5, 32.0));
        assert_eq!((axis.at(0.5), axis.at(32.0)), (0.0, 100.0));
        assert_eq!(axis.ticks().count(), 7);
        assert!(axis.at(1.0).is_finite());
    }

    #[test]
    fn what_is_equal_has_an_axis_too() {
        let axis = Axis::over([4.0, 4.0].into_iter(), (0.0, 100.0));
        assert!(axis.at(4.0).is_finite());
    }

    #[test]
    fn names_are_text() {
        let mut drawing = Drawing::default();
        let row = Dots {
            name: "a<b".to_owned(),
            values: vec![("jit".to_owned(), 2.0)],
        };
        drawing.dots("A & B", &[row]);
        let svg = drawing.finish();
        assert!(svg.contains("a&lt;b") && svg.contains("A &amp; B") && !svg.contains("NaN"));
    }
}

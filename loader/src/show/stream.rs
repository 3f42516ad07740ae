//! Events as they come, a line each, in columns that grow with what they hold.

use serde_json::{Value, json};

use super::{is_number, plain, title};
use crate::probe::Event;
use crate::record::{Cell, Field};

/// Columns of one map's events.
#[derive(Clone, Debug, Default)]
struct Columns {
    map: String,
    names: Vec<String>,
    widths: Vec<usize>,
}

/// Writes events. Begins with titles, and again whenever another map's events follow.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    columns: Vec<Columns>,
    last: Option<usize>,
}

impl Stream {
    /// The line of `event`, which came at `time`; with the titles before it where they are due.
    pub fn line(&mut self, event: &Event, time: &str) -> String {
        let at = self.columns_of(event);
        let mut text = String::new();
        let columns = &mut self.columns[at];
        columns.grow(event);
        if self.last != Some(at) {
            text += &columns.titles(event, time.len());
            self.last = Some(at);
        }
        text += &columns.line(event, time);
        text
    }

    fn columns_of(&mut self, event: &Event) -> usize {
        let names = || shown(event).map(|field| &field.name);
        let is_it = |c: &Columns| c.map == event.map && c.names.iter().eq(names());
        if let Some(at) = self.columns.iter().position(is_it) {
            return at;
        }
        let names: Vec<_> = names().cloned().collect();
        let fields = shown(event);
        let widths = fields.map(|f| heading(&f.name).len().max(usual(&f.name, &f.cell)));
        self.columns.push(Columns {
            map: event.map.clone(),
            widths: widths.collect(),
            names,
        });
        self.columns.len() - 1
    }
}

/// What has a column: all but stacks, which have no place in a line.
fn shown(event: &Event) -> impl Iterator<Item = &Field> {
    let fields = event.record.fields.iter();
    fields.filter(|field| !matches!(field.cell, Cell::Stack(_)))
}

/// How wide a column is before anything wide was in it.
fn usual(name: &str, cell: &Cell) -> usize {
    match cell {
        Cell::Plain(Value::String(_)) if name.contains("comm") || name.contains("task") => 16,
        Cell::Address(_) => 15,
        _ => 7,
    }
}

fn heading(name: &str) -> String {
    match name {
        "" => "DATA".to_owned(),
        name => title(name),
    }
}

impl Columns {
    fn grow(&mut self, event: &Event) {
        for (width, field) in self.widths.iter_mut().zip(shown(event)) {
            *width = (*width).max(plain(&field.cell).chars().count());
        }
    }

    fn titles(&self, event: &Event, time: usize) -> String {
        let fields = shown(event);
        let titles = fields.map(|field| (heading(&field.name), is_number(&field.cell)));
        self.row(&format!("{:<time$}", "TIME"), titles)
    }

    fn line(&self, event: &Event, time: &str) -> String {
        let fields = shown(event);
        let cells = fields.map(|field| (plain(&field.cell), is_number(&field.cell)));
        self.row(time, cells)
    }

    fn row(&self, time: &str, cells: impl Iterator<Item = (String, bool)>) -> String {
        let mut text = time.to_owned();
        for ((cell, is_number), width) in cells.zip(&self.widths) {
            text += &match is_number {
                true => format!(" {cell:>width$}"),
                false => format!(" {cell:<width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// The same for programs: `{"event": MAP, "time": SECONDS, "cpu": N, "data": {...}}`.
pub fn event_json(event: &Event) -> Value {
    let time = event.time.duration_since(std::time::UNIX_EPOCH);
    let time = time.unwrap_or_default().as_secs_f64();
    json!({ "event": event.map, "time": time, "cpu": event.cpu, "data": event.record.to_json() })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::meaning::Meaning;
    use crate::record::Record;

    fn event(map: &str, fields: &[(&str, Value)]) -> Event {
        let field = |(name, value): &(&str, Value)| Field {
            name: (*name).to_owned(),
            cell: Cell::Plain(value.clone()),
        };
        Event {
            map: map.to_owned(),
            cpu: 0,
            time: SystemTime::UNIX_EPOCH,
            bytes: vec![],
            record: Record {
                fields: fields.iter().map(field).collect(),
            },
        }
    }

    #[test]
    fn columns_have_titles_once_and_grow() {
        let mut stream = Stream::default();
        let opened = |comm: &str, ret: i32| {
            event(
                "events",
                &[
                    ("comm", json!(comm)),
                    ("delta_us", json!(ret)),
                    ("fname", json!("/x")),
                ],
            )
        };
        assert_eq!(
            stream.line(&opened("sh", -2), "10:00:00"),
            "TIME     COMM             DELTA(us) FNAME\n10:00:00 sh                      -2 /x\n"
        );
        assert_eq!(
            stream.line(&opened("a name of 20 letters", 1), "10:00:01"),
            "10:00:01 a name of 20 letters         1 /x\n"
        );
        let other = stream.line(&event("other", &[("", json!("00ff"))]), "10:00:02");
        assert_eq!(other, "TIME     DATA\n10:00:02 00ff\n");
        assert!(
            stream
                .line(&opened("sh", 0), "10:00:03")
                .starts_with("TIME")
        );
    }

    #[test]
    fn what_a_number_stands_for_is_shown() {
        let mut event = event("events", &[("ret", json!(0)), ("pid", json!(7))]);
        event.record.fields[0].cell = Cell::Named(Meaning::Errno, -13);
        let line = Stream::default().line(&event, "10:00:00");
        assert_eq!(line, "TIME     RET         PID\n10:00:00 -EACCES       7\n");
        assert_eq!(event_json(&event)["data"]["ret"], -13);
    }

    #[test]
    fn programs_get_json() {
        let json = event_json(&event("events", &[("pid", json!(7))]));
        assert_eq!(
            json,
            json!({ "event": "events", "time": 0.0, "cpu": 0, "data": { "pid": 7 } })
        );
    }
}

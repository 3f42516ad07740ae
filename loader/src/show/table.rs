//! Maps and variables at one moment.

use std::collections::HashMap;

use serde_json::{Map as Object, Value, json};

use super::stack::is_kernel;
use super::{Symbols, histogram, is_number, plain, title};
use crate::probe::Table;
use crate::profile::Profile;
use crate::record::{Cell, Field, Record};

/// What is needed to show maps and variables.
pub struct View<'a> {
    /// How the tool's data is meant.
    pub profile: &'a Profile,
    /// Names of functions.
    pub symbols: &'a Symbols,
    /// Frames of the stacks that have numbers.
    pub stacks: HashMap<i64, Vec<u64>>,
}

/// What is between two stacks of an element.
const SEPARATOR: &str = "    --\n";
/// Names of the fields that say whose stack it is.
const OWNERS: [&str; 3] = ["tgid", "pid", "target_pid"];

impl View<'_> {
    /// A map: a line an element; of those with slots, histograms.
    pub fn table(&self, table: &Table) -> String {
        let mut rows = Vec::new();
        for (key, values) in &table.elements {
            for (cpu, value) in values.iter().enumerate() {
                let cpu = (values.len() > 1).then_some(cpu);
                rows.push(row(key, cpu, value));
            }
        }
        if let Some(by) = &self.profile.sort {
            rows.sort_by_key(|row| std::cmp::Reverse(row.number(by)));
        }
        let has_slots = |row: &Record| row.fields.iter().any(|f| matches!(f.cell, Cell::Slots(_)));
        match rows.iter().any(has_slots) {
            true => self.histograms(&rows),
            false => self.columns(&table.name, &rows),
        }
    }

    fn histograms(&self, rows: &[Record]) -> String {
        let mut text = String::new();
        for row in rows {
            let is_slots = |field: &&Field| matches!(field.cell, Cell::Slots(_));
            let (slots, rest): (Vec<_>, Vec<_>) = row.fields.iter().partition(is_slots);
            let drawn: String = slots.iter().map(|field| self.draw(&field.cell)).collect();
            if drawn.is_empty() {
                continue;
            }
            if rows.len() > 1 || !is_of_all(&rest) {
                let words = rest.iter().filter(|field| !is_frames(&field.cell));
                let words = words.map(|f| format!("{} = {}", name(&f.name), plain(&f.cell)));
                text += &format!("\n{}\n", words.collect::<Vec<_>>().join(", "));
            }
            text += &self.frames(row);
            text += &drawn;
        }
        text
    }

    fn columns(&self, map: &str, rows: &[Record]) -> String {
        let Some(first) = rows.first() else {
            return format!("{map}: empty\n");
        };
        let shown = |row: &Record| -> Vec<(String, bool)> {
            let fields = row.fields.iter().filter(|f| !is_frames(&f.cell));
            fields
                .map(|f| (plain(&f.cell), is_number(&f.cell)))
                .collect()
        };
        let titles = first.fields.iter().filter(|f| !is_frames(&f.cell));
        let titles: Vec<_> = titles.map(|f| title(name(&f.name))).collect();
        let cells: Vec<_> = rows.iter().map(shown).collect();
        let width = |at: usize| {
            let cells = cells.iter().filter_map(|row| row.get(at));
            let widths = cells.map(|(text, _)| text.chars().count());
            widths.chain([titles[at].len()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..titles.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = (&str, bool)>| {
            let cell = |((text, is_number), width): ((&str, bool), &usize)| match is_number {
                true => format!("{text:>width$}"),
                false => format!("{text:<width$}"),
            };
            let line: Vec<_> = cells.zip(&widths).map(cell).collect();
            format!("{}\n", line.join("  ").trim_end())
        };
        let right = cells[0].iter().map(|(_, is_number)| *is_number);
        let mut text = line(&mut titles.iter().map(String::as_str).zip(right));
        for (row, cells) in rows.iter().zip(&cells) {
            text += &line(&mut cells.iter().map(|(text, number)| (text.as_str(), *number)));
            text += &self.frames(row);
        }
        text
    }

    /// Variables: a line each; of slots a histogram, of arrays with labels a line an element.
    pub fn globals(&self, globals: &Record) -> String {
        let mut text = String::new();
        let width = globals.fields.iter().map(|f| f.name.len()).max();
        let width = width.unwrap_or(0);
        for field in &globals.fields {
            let (array, index) = indexed(&field.name);
            let labels = self.profile.labels.get(array);
            let label = |i: usize| labels.and_then(|labels| labels.get(i)).cloned();
            match (&field.cell, labels) {
                (Cell::Slots(_), _) => {
                    let drawn = self.draw(&field.cell);
                    let whose = index.map(|i| label(i).unwrap_or_else(|| i.to_string()));
                    match whose {
                        _ if drawn.is_empty() => {}
                        Some(whose) => text += &format!("\n{array} = {whose}\n{drawn}"),
                        None => text += &drawn,
                    }
                }
                (Cell::Plain(Value::Array(values)), Some(labels)) => {
                    for (label, value) in labels.iter().zip(values) {
                        text += &format!("{label:<12} {value}\n");
                    }
                }
                (cell, _) => text += &format!("{:<width$}  {}\n", field.name, plain(cell)),
            }
        }
        text
    }

    fn draw(&self, cell: &Cell) -> String {
        let Cell::Slots(slots) = cell else {
            return String::new();
        };
        let unit = self.profile.unit.as_deref().unwrap_or("value");
        match self.profile.linear {
            true => histogram::linear(slots, self.profile.step.unwrap_or(1), unit),
            false => histogram::log2(slots, unit),
        }
    }

    /// The functions of the stacks of an element, a line each: the kernel's, which were called last, above the process's.
    fn frames(&self, row: &Record) -> String {
        let stacks = row.fields.iter().filter_map(|f| self.stack(&f.cell));
        let stacks = stacks.filter(|stack| !stack.is_empty());
        let (kernel, user): (Vec<_>, Vec<_>) = stacks.partition(|stack| is_kernel(stack[0]));
        let stacks = kernel.into_iter().chain(user);
        let lines = |stack: &[u64]| {
            let names = stack
                .iter()
                .map(|frame| self.symbols.name(*frame, owner(row)));
            names
                .map(|name| format!("    {name}\n"))
                .collect::<String>()
        };
        stacks.map(lines).collect::<Vec<_>>().join(SEPARATOR)
    }

    /// The frames of a stack, without a runtime's own.
    fn stack<'s>(&'s self, cell: &'s Cell) -> Option<&'s [u64]> {
        Some(self.symbols.own(match cell {
            Cell::Stack(frames) => frames,
            Cell::StackId(id) => self.stacks.get(id)?,
            _ => return None,
        }))
    }

    fn named(&self, cell: &Cell, pid: u32) -> Option<Vec<String>> {
        let frames = self.stack(cell)?.iter();
        Some(frames.map(|frame| self.symbols.name(*frame, pid)).collect())
    }

    /// `[{key, value}]`; of a value for each CPU, an array. A stack is its functions' names, where they are known.
    pub fn table_json(&self, table: &Table) -> Value {
        let element = |(key, values): &(Record, Vec<Record>)| {
            let pid = match owner(key) {
                0 => values.first().map_or(0, owner),
                pid => pid,
            };
            let json = |record: &Record| self.record_json(record, pid);
            let value = match &values[..] {
                [one] => json(one),
                values => values.iter().map(json).collect(),
            };
            json!({ "key": json(key), "value": value })
        };
        table.elements.iter().map(element).collect()
    }

    /// `{variable: value}`.
    pub fn globals_json(&self, globals: &Record) -> Value {
        let fields = globals.fields.iter();
        let fields = fields.map(|f| (f.name.clone(), self.cell_json(&f.cell, 0)));
        Value::Object(fields.collect::<Object<_, _>>())
    }

    fn record_json(&self, record: &Record, pid: u32) -> Value {
        match &record.fields[..] {
            [one] if one.name.is_empty() => self.cell_json(&one.cell, pid),
            fields => {
                let fields = fields.iter();
                let fields = fields.map(|f| (f.name.clone(), self.cell_json(&f.cell, pid)));
                Value::Object(fields.collect::<Object<_, _>>())
            }
        }
    }

    fn cell_json(&self, cell: &Cell, pid: u32) -> Value {
        match self.named(cell, pid) {
            Some(names) => json!(names),
            None => cell.to_json(),
        }
    }
}

/// An element as one record.
fn row(key: &Record, cpu: Option<usize>, value: &Record) -> Record {
    let named = |fields: &[Field], name: &str| -> Vec<Field> {
        let named = fields.iter().cloned().map(|mut field| {
            if field.name.is_empty() {
                name.clone_into(&mut field.name);
            }
            field
        });
        named.collect()
    };
    let mut fields = named(&key.fields, "key");
    fields.extend(cpu.map(|cpu| Field {
        name: "cpu".to_owned(),
        cell: Cell::Plain(json!(cpu)),
    }));
    fields.extend(named(&value.fields, "value"));
    Record { fields }
}

/// Whether an element that is the only one stands for all: its key is none of a process, a device, a name.
fn is_of_all(fields: &[&Field]) -> bool {
    let is_none = |field: &&&Field| {
        let number = plain(&field.cell).parse().ok();
        field.name == "key" && number.is_some_and(|n: u64| n == 0 || n == u64::from(u32::MAX))
    };
    fields.iter().any(|field| is_none(&field)) || fields.iter().all(|f| is_number(&f.cell))
}

/// Whose stacks are in a record; 0 if it does not say.
fn owner(row: &Record) -> u32 {
    let pid = OWNERS.iter().find_map(|name| row.number(name));
    pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)
}

fn is_frames(cell: &Cell) -> bool {
    matches!(cell, Cell::Stack(_))
}

fn name(name: &str) -> &str {
    if name.is_empty() { "value" } else { name }
}

/// `hists[3].slots`: the array, and which of its elements.
fn indexed(name: &str) -> (&str, Option<usize>) {
    let Some((array, rest)) = name.split_once('[') else {
        return (name.split('.').next().unwrap_or(name), None);
    };
    let index = rest.split(']').next().and_then(|index| index.parse().ok());
    (array, index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &[(&str, Cell)]) -> Record {
        let field = |(name, cell): &(&str, Cell)| Field {
            name: (*name).to_owned(),
            cell: cell.clone(),
        };
        Record {
            fields: fields.iter().map(field).collect(),
        }
    }

    fn show(profile: &str, elements: Vec<(Record, Vec<Record>)>) -> String {
        let profile = toml::from_str(profile).unwrap();
        let view = View {
            profile: &profile,
            symbols: &Symbols::default(),
            stacks: HashMap::from([(3, vec![0x20])]),
        };
        let name = "m".to_owned();
        view.table(&Table {
            name,
            elements,
            own: 0,
        })
    }

    fn number(n: i64) -> Cell {
        Cell::Plain(json!(n))
    }

    #[test]
    fn elements_are_lines_sorted_as_the_tool_sorts_them_with_their_stacks() {
        let key = |pid, stack| record(&[("pid", number(pid)), ("stack_id", Cell::StackId(stack))]);
        let value = |delta| record(&[("delta_ns", number(delta))]);
        let elements = vec![(key(1, 9), vec![value(5)]), (key(22, 3), vec![value(700)])];
        assert_eq!(
            show("sort = \"delta_ns\"", elements),
            "PID  STACK_ID  DELTA(ns)\n 22         3        700\n    0x20\n  1         9          5\n"
        );
        assert_eq!(show("", vec![]), "m: empty\n");
    }

    #[test]
    fn the_kernels_frames_are_above_the_process_s() {
        let profile = Profile::default();
        let view = View {
            profile: &profile,
            symbols: &Symbols::default(),
            stacks: HashMap::from([(3, vec![0x20, 0x30]), (4, vec![u64::MAX])]),
        };
        let key = record(&[
            ("user_stack_id", Cell::StackId(3)),
            ("kern_stack_id", Cell::StackId(4)),
        ]);
        let text = view.frames(&key);
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        let [kernel, rest @ ..] = &lines[..] else {
            panic!("{text}");
        };
        assert!(!["0x20", "0x30", "--"].contains(kernel), "{text}");
        assert_eq!(rest, ["--", "0x20", "0x30"]);
        let user = record(&[("user_stack_id", Cell::StackId(3))]);
        assert_eq!(view.frames(&user), "    0x20\n    0x30\n");
    }

    #[test]
    fn values_of_cpus_have_a_line_each() {
        let values = vec![record(&[("", number(4))]), record(&[("", number(6))])];
        let shown = show("", vec![(record(&[("", number(0))]), values)]);
        assert_eq!(shown, "KEY  CPU  VALUE\n  0    0      4\n  0    1      6\n");
    }

    #[test]
    fn slots_are_drawn_under_what_they_belong_to() {
        let slots = |n| record(&[("slots", Cell::Slots(vec![n, 0, 0]))]);
        let key = |comm: &str| record(&[("comm", Cell::Plain(json!(comm)))]);
        let elements = vec![(key("sh"), vec![slots(2)]), (key("idle"), vec![slots(0)])];
        let shown = show("unit = \"Kbytes\"", elements);
        assert!(shown.starts_with("\ncomm = sh\n     Kbytes "), "{shown}");
        assert!(!shown.contains("idle"), "{shown}");
        // The only one needs no heading.
        let one = show("", vec![(record(&[("", number(0))]), vec![slots(1)])]);
        assert!(one.starts_with("     value "), "{one}");
    }

    #[test]
    fn variables_have_labels() {
        let profile: Profile = toml::from_str(
            "unit = \"usecs\"\n[labels]\nstats = [\"READ\"]\nhists = [\"a\", \"b\"]",
        )
        .unwrap();
        let view = View {
            profile: &profile,
            symbols: &Symbols::default(),
            stacks: HashMap::new(),
        };
        let globals = record(&[
            ("stats", Cell::Plain(json!([7, 8]))),
            ("hists[1].slots", Cell::Slots(vec![1])),
            ("n", number(1)),
        ]);
        let text = view.globals(&globals);
        assert!(
            text.starts_with("READ         7\n\nhists = b\n     usecs"),
            "{text}"
        );
        assert!(text.ends_with("n               1\n"), "{text}");
    }
}

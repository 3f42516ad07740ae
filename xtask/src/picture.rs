//! `cargo xtask picture`: a real run in a guest, as the picture in the README.

use std::fmt::Write;
use std::fs;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Result, ensure};

use crate::exec::{PROGRAMS, cargo_target, command, output, root};
use crate::kernels::Kernel;
use crate::progress::step;
use crate::vm::Guest;
use crate::{kmod, setup};

/// What is run.
const SCRIPT: &str = "xtask/src/picture.sh";
/// Where the picture goes.
const PICTURE: &str = "run.svg";
/// Of a line and a character, in pixels; and what is around them.
const LINE: usize = 19;
const CHARACTER: f64 = 8.4;
const MARGIN: usize = 18;

/// The task itself.
pub(crate) fn run() -> Result<ExitCode> {
    let kernel = Kernel::V6_12;
    setup::ensure(&[kernel])?;
    kmod::build(kernel)?;
    step("picture", "building the guest's programs", || {
        output(command(PROGRAMS).current_dir(root()))
    })?;
    let words = [
        "sh".to_owned(),
        root().join(SCRIPT).display().to_string(),
        kmod::path(kernel).display().to_string(),
        cargo_target().join("debug/wprobe").display().to_string(),
    ];
    let lines = Mutex::new(Vec::new());
    let outcome = Guest::new(kernel, words.to_vec()).boot(&|line, _| {
        let mut lines = lines.lock().expect("nothing panics here");
        lines.push(line.to_owned());
    })?;
    outcome.explain("picture");
    ensure!(outcome.is_good(), "the guest was not well");
    let lines = lines.into_inner().expect("nothing panics here");
    fs::write(root().join(PICTURE), svg(&lines))?;
    println!("{}", lines.join("\n"));
    Ok(ExitCode::SUCCESS)
}

/// The lines as a terminal has them; commands stand out.
fn svg(lines: &[String]) -> String {
    let last = lines.iter().rposition(|line| !line.is_empty());
    let lines = &lines[..last.map_or(0, |at| at + 1)];
    let columns = lines.iter().map(|line| line.chars().count()).max();
    let width = (columns.unwrap_or(0) as f64 * CHARACTER).ceil() as usize + 2 * MARGIN;
    let height = lines.len() * LINE + 2 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#1b1f27\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"14\" fill=\"#d5dae3\" xml:space=\"preserve\">\n"
    );
    for (at, line) in lines.iter().enumerate() {
        let y = MARGIN + at * LINE + 14;
        let colour = match line.starts_with("$ ") {
            true => " fill=\"#8fd18f\" font-weight=\"bold\"",
            false => "",
        };
        let length = line.chars().count() as f64 * CHARACTER;
        // Writing to a string cannot fail. The length keeps columns where fonts differ.
        let _ = writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{y}\"{colour} textLength=\"{length:.1}\">{}</text>",
            escaped(line)
        );
    }
    svg + "</g>\n</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_text_that_xml_can_hold() {
        let lines = ["$ wprobe run a", "0 -> 1 <x> & y", ""].map(str::to_owned);
        let svg = svg(&lines);
        assert_eq!(svg.matches("<text").count(), 2);
        assert!(svg.contains(">0 -&gt; 1 &lt;x&gt; &amp; y</text>"), "{svg}");
    }
}

//! Links in documents lead somewhere.

use std::path::Path;

use super::File;
use crate::exec::root;

/// Relative links of every `.md` file against the tree.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let dir = root().join(&file.path);
        let dir = dir.parent().unwrap_or(Path::new("/"));
        for (number, line) in file.text().lines().enumerate() {
            for target in targets(line).filter(|target| !dir.join(target).exists()) {
                problems.push(format!(
                    "{}:{}: link to {target}, which is not there",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    problems
}

/// The files that a line of Markdown links to; anchors and other sites fall out.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split('#').next().unwrap_or(target))
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found() {
        let line = "see [a](x/y.md#z) and [b](https://e.org/), [c](#here), [d](z.rs)";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["x/y.md", "z.rs"]);
    }

    #[test]
    fn a_dead_link_is_a_problem() {
        let file = |text: &str| File {
            path: "x.md".into(),
            bytes: text.into(),
        };
        assert_eq!(check(&[file("[gone](no/such/file.md)")]).len(), 1);
        assert!(check(&[file("[there](xtask/Cargo.toml)")]).is_empty());
    }
}

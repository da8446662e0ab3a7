//! Tables for people, JSON for programs.

use std::io::Write as _;

use serde::Serialize;

use super::Failure;

/// How a command shows what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Writes `text` to standard output. A reader that has gone (`| head`) has seen enough.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes `value` as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Findings(format!("the findings cannot be written as JSON: {error}")))?;
    print(&format!("{text}\n"));
    Ok(())
}

/// Rows under headings, columns aligned, the last one as wide as it likes.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let mut shown = String::new();
        for (at, (cell, width)) in cells.iter().zip(widths).enumerate() {
            shown.push_str(cell);
            if at + 1 < N {
                let padding = width + 2 - cell.chars().count();
                shown.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    };
    line(headings);
    rows.iter().for_each(|row| line(row.each_ref().map(String::as_str)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_letters() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        let shown = table(["name", "what"], &[row("é", "1"), row("longer", "2"), row("x", "")]);
        assert_eq!(shown, "name    what\né       1\nlonger  2\nx\n");
    }
}

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
    wide_table(&headings, rows)
}

/// The same for columns whose number is known only when they are shown. Each row has one cell for each heading.
pub(super) fn wide_table(headings: &[&str], rows: &[impl AsRef<[String]>]) -> String {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.as_ref()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut shown = String::new();
        for (at, (cell, width)) in cells.zip(&widths).enumerate() {
            shown.push_str(cell);
            if at + 1 < widths.len() {
                let padding = width + 2 - cell.chars().count();
                shown.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    };
    line(&mut headings.iter().copied());
    rows.iter().for_each(|row| line(&mut row.as_ref().iter().map(String::as_str)));
    text
}

/// A size for people, to three digits, in powers of 1024.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut amount, mut unit) = (bytes as f64, 0);
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        (amount, unit) = (amount / 1024.0, unit + 1);
    }
    let digits = if unit == 0 || amount >= 100.0 { 0 } else { 1 };
    format!("{amount:.digits$} {}", UNITS[unit])
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

    #[test]
    fn sizes_are_told_to_three_digits() {
        for (size, shown) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (500 << 30, "500 GiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(bytes(size), shown);
        }
    }
}

//! A picture of a run, as SVG: two panels over one time axis. No library draws so little with so little.

use std::fmt::Write as _;

use super::Shown;
use crate::{
    history::ServedBy,
    report::scale::{Panel, ceiling, steps},
};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 836.0;
const PANELS: [Panel; 2] = [
    Panel { left: LEFT, right: RIGHT, top: 56.0, bottom: 236.0 },
    Panel { left: LEFT, right: RIGHT, top: 276.0, bottom: 396.0 },
];
const HEIGHT: f64 = 436.0;
/// Seconds between two ticks.
const TICK_S: usize = 10;
/// From the bottom to the top of the stack.
const STACK: [(ServedBy, &str); 4] = [
    (ServedBy::L1, "#4c78a8"),
    (ServedBy::L2, "#72b7b2"),
    (ServedBy::Source, "#f58518"),
    (ServedBy::Stale, "#b279a2"),
];
const LOADS: &str = "#e45756";

/// The picture.
pub(crate) fn svg(shown: &Shown) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut out, shown);
    out
}

fn draw(out: &mut String, shown: &Shown) -> std::fmt::Result {
    let seconds = &shown.series.seconds;
    let x = |second: f64| PANELS[0].x(seconds.len().max(1) as f64, second);
    let reads_max = ceiling(seconds.iter().map(|second| second.answered() as f64).fold(1.0, f64::max));
    let loads_max = ceiling(seconds.iter().map(|second| second.loads).fold(1.0, f64::max));
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n<text x=\"{LEFT}\" y=\"20\" \
         font-size=\"15\">{}</text>",
        shown.title
    )?;
    for (panel, (max, label)) in
        PANELS.iter().zip([(reads_max, "answers a second"), (loads_max, "queries to the database a second")])
    {
        axis(out, *panel, max, label)?;
    }
    let mut below = vec![0.0; seconds.len()];
    for (place, (by, colour)) in STACK.iter().enumerate() {
        if seconds.iter().all(|second| second.by(*by) == 0) {
            continue;
        }
        let above: Vec<f64> =
            seconds.iter().zip(&below).map(|(second, below)| below + second.by(*by) as f64).collect();
        let forth = steps(&above, x, |value| PANELS[0].y(reads_max, value));
        let back = steps(&below, x, |value| PANELS[0].y(reads_max, value));
        let outline: Vec<String> = forth.into_iter().chain(back.into_iter().rev()).collect();
        writeln!(out, "<polygon fill=\"{colour}\" points=\"{}\"/>", outline.join(" "))?;
        let at = LEFT + 300.0 + 90.0 * place as f64;
        writeln!(
            out,
            "<rect x=\"{at}\" y=\"36\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"45\">{}</text>",
            at + 14.0,
            by.as_str()
        )?;
        below = above;
    }
    let loads: Vec<f64> = seconds.iter().map(|second| second.loads).collect();
    let line = steps(&loads, x, |value| PANELS[1].y(loads_max, value));
    writeln!(
        out,
        "<polyline fill=\"none\" stroke=\"{LOADS}\" stroke-width=\"1.5\" points=\"{}\"/>",
        line.join(" ")
    )?;
    for tick in (0..=seconds.len()).step_by(TICK_S) {
        let (at, bottom) = (x(tick as f64), PANELS[1].bottom + 16.0);
        writeln!(out, "<text x=\"{at:.1}\" y=\"{bottom}\" text-anchor=\"middle\">{tick} s</text>")?;
    }
    for mark in &shown.series.marks {
        let (at, top, bottom) = (x(mark.at_s), PANELS[0].top, PANELS[1].bottom);
        writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#333\" stroke-dasharray=\"4 3\"/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text>",
            at + 4.0,
            PANELS[0].bottom + 14.0,
            mark.what
        )?;
    }
    writeln!(out, "</svg>")
}

fn axis(out: &mut String, panel: Panel, max: f64, label: &str) -> std::fmt::Result {
    let above = panel.top - 11.0;
    writeln!(out, "<text x=\"{LEFT}\" y=\"{above}\" fill=\"#555\">{label}</text>")?;
    for part in [0.0, 0.5, 1.0] {
        let y = panel.y(1.0, part);
        writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{:.0}</text>",
            LEFT - 6.0,
            y + 4.0,
            part * max
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Second, Series, series::Mark};

    #[test]
    fn a_picture_has_what_was_shown_and_is_well_formed() {
        let second = Second { served: [(ServedBy::L1, 10)].into(), loads: 3.0, ..Second::default() };
        let marks = vec![Mark { at_s: 1.0, what: "killed" }];
        let series = Series { seconds: vec![second; 3], marks };
        let text = svg(&Shown { title: "A run", series, findings: Vec::new() });
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        assert!(text.contains("killed") && text.contains("A run") && text.contains(">l1<"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}

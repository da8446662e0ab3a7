//! How one figure went over time, two ways, one drawn over the other: for a page, whose colours it takes.

use std::fmt::Write as _;

use super::{
    escaped,
    scale::{Panel, ceiling, steps, tick},
};
use crate::incident::{Along, Series, grouped};

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 214.0;
const PANEL: Panel = Panel { left: 50.0, right: 454.0, top: 14.0, bottom: 168.0 };
/// Ticks along the bottom, at most.
const TICKS_MAX: f64 = 6.0;

/// The picture, with a legend, a text that tells the same, and its values as a table. `id` is unique on the page.
pub(super) fn chart(id: &str, naive: &Series, ours: &Series) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut out, id, naive, ours);
    out
}

/// The ways, as they are called and drawn.
const WAYS: [(&str, &str); 2] = [("naive", "naive"), ("Trueup", "ours")];

fn draw(out: &mut String, id: &str, naive: &Series, ours: &Series) -> std::fmt::Result {
    let both = [naive, ours];
    let (what, unit) = (escaped(naive.what), escaped(naive.unit));
    let value_max = ceiling(both.iter().map(|series| series.most()).fold(1.0, f64::max));
    let length = |series: &Series| series.step * series.values.len() as f64;
    let longest = both.iter().map(|series| length(series)).fold(0.0, f64::max);
    let along_max = if longest > 0.0 { longest } else { 1.0 };
    writeln!(out, "<figure>\n<figcaption><span class=\"what\">{what}, {unit}</span>")?;
    for (name, class) in WAYS {
        writeln!(
            out,
            "<span class=\"key\"><svg viewBox=\"0 0 28 8\" aria-hidden=\"true\"><line class=\"{class}\" x1=\"1\" y1=\"4\" \
             x2=\"27\" y2=\"4\"/></svg>{name}</span>"
        )?;
    }
    writeln!(
        out,
        "</figcaption>\n<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-title {id}-text\">\n\
         <title id=\"{id}-title\">{what}, {unit}, naive and through Trueup</title>\n<desc id=\"{id}-text\">{}</desc>",
        told(naive, ours)
    )?;
    axes(out, value_max, along_max, naive.along)?;
    for mark in &naive.marks {
        let at = PANEL.x(along_max, mark.at);
        // Beside its line, on the side where there is room.
        let (anchor, text_at) = if at > 0.6 * WIDTH { ("end", at - 4.0) } else { ("start", at + 4.0) };
        writeln!(
            out,
            "<line class=\"mark\" x1=\"{at:.1}\" y1=\"{}\" x2=\"{at:.1}\" y2=\"{}\"/><text x=\"{text_at:.1}\" y=\"{}\" \
             text-anchor=\"{anchor}\">{}</text>",
            PANEL.top,
            PANEL.bottom,
            PANEL.top + 10.0,
            escaped(mark.what)
        )?;
    }
    for (series, (_, class)) in both.into_iter().zip(WAYS) {
        let line = steps(
            &series.values,
            |place| PANEL.x(along_max, place * series.step),
            |value| PANEL.y(value_max, value),
        );
        writeln!(out, "<polyline class=\"{class}\" points=\"{}\"/>", line.join(" "))?;
    }
    writeln!(out, "</svg>")?;
    table(out, naive, ours)?;
    writeln!(out, "</figure>")
}

fn axes(out: &mut String, value_max: f64, along_max: f64, along: Along) -> std::fmt::Result {
    for part in [0.0, 0.5, 1.0] {
        let (y, value) = (PANEL.y(1.0, part), plain(part * value_max));
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{value}</text>",
            PANEL.left,
            PANEL.right,
            PANEL.left - 6.0,
            y + 4.0
        )?;
    }
    let between = tick(along_max, TICKS_MAX);
    for number in 0..=(along_max / between + 1e-6) as u32 {
        let at = f64::from(number) * between;
        let x = PANEL.x(along_max, at);
        writeln!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{}\"/><text x=\"{x:.1}\" y=\"{}\" \
             text-anchor=\"middle\">{}</text>",
            PANEL.bottom,
            PANEL.bottom + 4.0,
            PANEL.bottom + 18.0,
            plain(at)
        )?;
    }
    let middle = f64::midpoint(PANEL.left, PANEL.right);
    writeln!(out, "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>", HEIGHT - 8.0, name(along))
}

const fn name(along: Along) -> &'static str {
    match along {
        Along::Seconds => "seconds",
        Along::Requests => "requests",
    }
}

/// For those who do not see it.
fn told(naive: &Series, ours: &Series) -> String {
    let one = |series: &Series| {
        let most = series.most();
        let at = series.values.iter().position(|value| *value >= most).unwrap_or(0);
        let last = series.values.last().copied().unwrap_or(0.0);
        let (at, along) = (plain(at as f64 * series.step), name(series.along));
        format!("at most {}, first at {at} {along}, and {} at the end", plain(most), plain(last))
    };
    let marks: String = naive
        .marks
        .iter()
        .map(|mark| format!(" At {} {}: {}.", plain(mark.at), name(naive.along), mark.what))
        .collect();
    escaped(&format!("Naive: {}. Trueup: {}.{marks}", one(naive), one(ours)))
}

fn table(out: &mut String, naive: &Series, ours: &Series) -> std::fmt::Result {
    writeln!(
        out,
        "<details><summary>the same as a table</summary><table>\n<thead><tr><th scope=\"col\">{}</th>\
         <th scope=\"col\">naive</th><th scope=\"col\">Trueup</th></tr></thead>\n<tbody>",
        name(naive.along)
    )?;
    let value =
        |series: &Series, row: usize| series.values.get(row).map(|value| plain(*value)).unwrap_or_default();
    for row in 0..naive.values.len().max(ours.values.len()) {
        writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
            plain(row as f64 * naive.step),
            value(naive, row),
            value(ours, row)
        )?;
    }
    writeln!(out, "</tbody>\n</table></details>")
}

/// Three digits, and no zeros behind the point.
fn plain(value: f64) -> String {
    let digits = if value.abs() >= 100.0 { 0 } else { 2 };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    grouped(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        Series {
            what: "loads < all",
            unit: "in 100 ms",
            along: Along::Seconds,
            step: 0.1,
            values: values.to_vec(),
            marks: Vec::new(),
        }
        .mark(std::time::Duration::from_millis(100), "killed")
    }

    #[test]
    fn a_chart_has_both_ways_axes_marks_and_a_text_that_tells_the_same() {
        let text = chart("x-1", &series(&[1.0, 4_000.0, 2.5]), &series(&[0.0, 1.0]));
        for part in [
            "loads &lt; all, in 100 ms",
            "class=\"naive\" points=\"",
            "class=\"ours\" points=\"",
            "role=\"img\" aria-labelledby=\"x-1-title x-1-text\"",
            "Naive: at most 4,000, first at 0.1 seconds, and 2.5 at the end. Trueup: at most 1",
            "At 0.1 seconds: killed.",
            ">4,000</text>",
            ">2,000</text>",
            "<th scope=\"row\">0.2</th><td>2.5</td><td></td>",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }

    #[test]
    fn a_chart_of_nothing_is_one() {
        let text = chart("x-1", &series(&[]), &series(&[]));
        assert!(text.starts_with("<figure>") && !text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}

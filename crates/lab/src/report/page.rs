//! The report of the incidents as a page for a browser: one card each. It loads nothing from anywhere and runs no script.

use super::{chart::chart, escaped};
use crate::{
    cli::Shown,
    incident::{Beside, Figure, Outcome},
};

/// The page.
pub(crate) fn page(shown: &[Shown]) -> String {
    let cards: String = shown.iter().map(card).collect();
    let links: String = shown.iter().map(link).collect();
    let as_told = shown.iter().filter(|one| one.as_told()).count();
    let seconds: f64 = shown.iter().map(|one| one.seconds).sum();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Incidents, naive beside Trueup</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>Incidents, naive beside Trueup</h1>\n\
         <p>{as_told} of {} went as their story says: the naive way shows it, the protected way does not. The whole run took \
         {seconds:.0} s.</p>\n<nav aria-label=\"Incidents\"><ul>\n{links}</ul></nav>\n</header>\n\
         <main>\n{cards}</main>\n</body>\n</html>\n",
        shown.len()
    )
}

fn link(one: &Shown) -> String {
    let id = escaped(one.name);
    let untold = if one.as_told() { "" } else { " (not as told)" };
    format!("<li><a href=\"#{id}\">{id}</a>{untold}</li>\n")
}

fn card(one: &Shown) -> String {
    let id = escaped(one.name);
    let rows: String = one
        .naive
        .figures
        .iter()
        .enumerate()
        .map(|(index, figure)| row(figure, one.protected.figures.get(index), one.unprotected.as_ref(), index))
        .collect();
    let without =
        if one.unprotected.is_some() { "<th scope=\"col\">without its protection</th>" } else { "" };
    let (class, verdict) = if one.as_told() { ("told", "as told") } else { ("untold", "not as told") };
    let series = one.naive.series.iter().zip(&one.protected.series).enumerate();
    let charts: String =
        series.map(|(index, (naive, ours))| chart(&format!("{id}-{index}"), naive, ours)).collect();
    format!(
        "<article aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{id} <span class=\"{class}\">{verdict}</span></h2>\n\
         <p>{}</p>\n<dl><dt>Naive</dt><dd>{}</dd><dt>Trueup</dt><dd>{}</dd></dl>\n\
         <div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Figures of {id}\"><table>\n<thead><tr>\
         <th scope=\"col\">figure</th><th scope=\"col\">naive{}</th><th scope=\"col\">Trueup{}</th>{without}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n{}{charts}<p class=\"command\">seed {}, {:.1} s: <code>{}</code></p>\n</article>\n",
        escaped(one.story),
        escaped(one.naive_does),
        escaped(one.protection),
        holds(&one.naive),
        holds(&one.protected),
        accounts(&id, &one.account),
        one.seed,
        one.seconds,
        escaped(&one.command)
    )
}

/// What those who told the story measured, beside ours.
fn accounts(id: &str, account: &[Beside]) -> String {
    if account.is_empty() {
        return String::new();
    }
    let row = |beside: &Beside| {
        let why =
            if beside.short.is_empty() { String::new() } else { format!(": {}", escaped(beside.short)) };
        let reached = if beside.reached {
            "<td class=\"told\">reached</td>".to_owned()
        } else {
            format!("<td class=\"short\">falls short{why}</td>")
        };
        let [figure, told, here] = [beside.figure, beside.told, &beside.here].map(escaped);
        format!("<tr><th scope=\"row\">{figure}</th><td>{told}</td><td>{here}</td>{reached}</tr>\n")
    };
    let rows: String = account.iter().map(row).collect();
    format!(
        "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Figures as {id} was told\"><table>\n\
         <thead><tr><th scope=\"col\">figure</th><th scope=\"col\">as it was told</th><th scope=\"col\">here</th>\
         <th scope=\"col\">beside it</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

fn holds(outcome: &Outcome) -> &'static str {
    if outcome.holds { " (holds)" } else { " (fails)" }
}

/// One figure of all ways, each with a bar: how long, beside the longest of the row.
fn row(naive: &Figure, protected: Option<&Figure>, without: Option<&Outcome>, index: usize) -> String {
    let without = without.map(|outcome| outcome.figures.get(index));
    let all = [Some(naive), protected, without.flatten()];
    let most = all.iter().flatten().map(|figure| figure.value).fold(0.0, f64::max);
    let cell = |figure: Option<&Figure>| {
        let Some(figure) = figure else { return "<td></td>".to_owned() };
        let width = if most > 0.0 { 100.0 * figure.value / most } else { 0.0 };
        format!(
            "<td>{}<svg viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
             <rect width=\"{width:.1}\" height=\"4\"/></svg></td>",
            escaped(&figure.to_string())
        )
    };
    let last = without.map(cell).unwrap_or_default();
    let what = escaped(naive.what);
    format!("<tr><th scope=\"row\">{what}</th>{}{}{last}</tr>\n", cell(Some(naive)), cell(protected))
}

const STYLE: &str = include_str!("page.css");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Along, Series};

    #[test]
    fn a_card_tells_story_figures_and_command_and_escapes_what_it_shows() {
        let series = Series {
            what: "wrong answers",
            unit: "in 100 ms",
            along: Along::Seconds,
            step: 0.1,
            values: vec![1.0, 3.0],
            marks: Vec::new(),
        };
        let outcome = |holds, value| Outcome {
            holds,
            figures: vec![Figure { what: "a < b", value, unit: "%" }],
            series: vec![series.clone()],
        };
        let beside = Beside {
            figure: "a < b",
            told: "41 % -> 78 %",
            here: "50.00 % -> 25.00 %".to_owned(),
            reached: false,
            short: "another load",
        };
        let shown = Shown {
            name: "some-incident",
            story: "\"quoted\" & told",
            naive_does: "this",
            protection: "that",
            seed: 7,
            command: "trueup-lab run some-incident --seed 7".to_owned(),
            ground: crate::incident::Ground::embedded(),
            seconds: 1.0,
            naive: outcome(false, 50.0),
            protected: outcome(true, 25.0),
            account: vec![beside],
            unprotected: None,
        };
        let page = page(std::slice::from_ref(&shown));
        for part in [
            "&quot;quoted&quot; &amp; told",
            "a &lt; b",
            "50.00 %",
            "width=\"50.0\"",
            "naive (fails)",
            "Trueup (holds)",
            "<code>trueup-lab run some-incident --seed 7</code>",
            "1 of 1",
            "<a href=\"#some-incident\">",
            "<td>41 % -&gt; 78 %</td><td>50.00 % -&gt; 25.00 %</td><td class=\"short\">falls short: another load</td>",
            "wrong answers, in 100 ms",
            "id=\"some-incident-0-title\"",
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
        assert!(!page.contains("<script") && !page.contains("http"));
    }
}

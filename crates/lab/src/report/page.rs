//! The report of the incidents as a page for a browser: one card each. It loads nothing from anywhere and runs no script.

use crate::{
    cli::{Shown, number},
    incident::{Figure, Outcome},
};

/// The page.
pub(crate) fn page(shown: &[Shown]) -> String {
    let cards: String = shown.iter().map(card).collect();
    let as_told = shown.iter().filter(|one| one.as_told()).count();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Incidents, naive beside Trueup</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>Incidents, naive beside Trueup</h1>\n\
         <p>{as_told} of {} went as their story says: the naive way shows it, the protected way does not.</p>\n</header>\n\
         <main>\n{cards}</main>\n</body>\n</html>\n",
        shown.len()
    )
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
    let verdict = if one.as_told() { "as told" } else { "not as told" };
    let class = if one.as_told() { "told" } else { "untold" };
    format!(
        "<article aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{id} <span class=\"{class}\">{verdict}</span></h2>\n\
         <p>{}</p>\n<dl><dt>Naive</dt><dd>{}</dd><dt>Trueup</dt><dd>{}</dd></dl>\n\
         <div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"Figures of {id}\"><table>\n<thead><tr>\
         <th scope=\"col\">figure</th><th scope=\"col\">naive{}</th><th scope=\"col\">Trueup{}</th>{without}</tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table></div>\n<p class=\"command\">seed {}, {:.1} s: <code>{}</code></p>\n</article>\n",
        escaped(one.story),
        escaped(one.naive_does),
        escaped(one.protection),
        holds(&one.naive),
        holds(&one.protected),
        one.seed,
        one.seconds,
        escaped(&one.command)
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
            escaped(&number(figure))
        )
    };
    let last = without.map(cell).unwrap_or_default();
    let what = escaped(naive.what);
    format!("<tr><th scope=\"row\">{what}</th>{}{}{last}</tr>\n", cell(Some(naive)), cell(protected))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d0d7de;--good:#0a6b2d;--bad:#a40e26;--bar:#3b6ea8}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--line:#3d444d;--good:#56d364;--bad:#ff7b72;--bar:#79b8ff}}\
body{margin:0 auto;max-width:72rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
main{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,32rem),1fr));gap:1rem}\
article{border:1px solid var(--line);border-radius:8px;padding:1rem}\
h2{margin:0;font-size:1.2rem}h2 span{font-size:.85rem;font-weight:400;margin-left:.5rem}\
.told{color:var(--good)}.untold{color:var(--bad)}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem .8rem;margin:0}dt{font-weight:600}dd{margin:0}\
.table{overflow-x:auto}table{border-collapse:collapse;width:100%;margin-top:.6rem}\
th,td{text-align:left;padding:.3rem .5rem;border-bottom:1px solid var(--line);vertical-align:top}\
tbody th{font-weight:400}td svg{display:block;width:100%;min-width:5rem;height:4px;fill:var(--bar)}\
.command{font-size:.85rem;margin-bottom:0}code{overflow-wrap:anywhere}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_tells_story_figures_and_command_and_escapes_what_it_shows() {
        let outcome =
            |holds, value| Outcome { holds, figures: vec![Figure { what: "a < b", value, unit: "%" }] };
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
        ] {
            assert!(page.contains(part), "{part} is missing in {page}");
        }
        assert!(!page.contains("<script") && !page.contains("http"));
    }
}

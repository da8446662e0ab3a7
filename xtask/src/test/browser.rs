//! A real browser without a window, and what it makes of a page.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{clients, packages, paths, sh};

/// Virtual time that a page may use, in milliseconds: enough for a few rounds of figures.
const PAGE_TIME_MS: u32 = 5_000;
/// Time that the browser may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Where the accessibility checker is pinned.
const CHECKER: &str = "tests/page";
/// Where a page is given what the checker found.
const FOUND: &str = "<pre id=\"axe-found\">";

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) name: &'static str,
    pub(super) size: &'static str,
    pub(super) dark: bool,
}

/// A desk, and a telephone at night.
pub(super) const VIEWS: [View; 3] = [
    View { name: "desk", size: "1280,900", dark: false },
    View { name: "dark", size: "1280,900", dark: true },
    View { name: "narrow", size: "400,900", dark: false },
];

fn browser(profile: &Path, view: View) -> Command {
    let mut chromium = sh::command("chromium");
    // Root may not use chromium's sandbox, and containers have little shared memory.
    chromium.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
    ]);
    // Nothing but this machine can be reached: a page that needs more shows it here.
    chromium.arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1");
    if view.dark {
        chromium.arg("--blink-settings=preferredColorScheme=0");
    }
    chromium
        .arg(format!("--window-size={}", view.size))
        .arg(format!("--virtual-time-budget={PAGE_TIME_MS}"))
        .arg(format!("--user-data-dir={}", profile.display()));
    chromium
}

/// What the page at `address` has become once its scripts have run.
///
/// # Errors
/// When the browser fails.
pub(super) fn dump(address: &str, view: View) -> Result<String> {
    packages::ensure(&[packages::CHROMIUM])?;
    let profile = paths::temporary("browser-")?;
    sh::capture_within(LIMIT, browser(profile.path(), view).arg("--dump-dom").arg(address))
}

/// A picture of the page at `address`, `height` pixels of it where the view's are not enough.
///
/// # Errors
/// When the browser fails.
pub(super) fn picture(address: &str, view: View, file: &Path) -> Result<()> {
    packages::ensure(&[packages::CHROMIUM])?;
    let profile = paths::temporary("browser-")?;
    let screenshot = format!("--screenshot={}", file.display());
    sh::capture_within(LIMIT, browser(profile.path(), view).arg(screenshot).arg(address)).map(drop)
}

/// Has axe-core look at a page that runs no script of its own.
///
/// # Errors
/// With each rule that is broken, and where.
pub(super) fn accessible(page: &Path, view: View) -> Result<()> {
    packages::ensure(&[packages::NODE, packages::NPM])?;
    let modules = clients::node_modules("axe", &paths::root().join(CHECKER))?;
    let checker = std::fs::read_to_string(modules.join("axe-core").join("axe.min.js"))
        .context("axe-core is installed, but has no axe.min.js")?;
    let text = std::fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let folder = paths::temporary("axe-")?;
    let copy = folder.path().join("page.html");
    let (before, after) = text.rsplit_once("</body>").context("the page has no end")?;
    let run = "axe.run(document, {resultTypes: ['violations']}).then(\
               done => JSON.stringify({rules: done.passes.length, broken: done.violations}), \
               why => JSON.stringify({failed: String(why)})\
               ).then(text => { const found = document.createElement('pre'); found.id = 'axe-found'; \
               found.textContent = text; document.body.append(found); });";
    std::fs::write(&copy, format!("{before}<script>{checker}</script><script>{run}</script></body>{after}"))?;
    let dumped = dump(&format!("file://{}", copy.display()), view)?;
    let found = dumped.split_once(FOUND).and_then(|(_, rest)| rest.split_once("</pre>"));
    let (found, _) = found.context("axe-core has not come to an end")?;
    let found = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    judged(&found, view)
}

fn judged(found: &str, view: View) -> Result<()> {
    let found: Value = serde_json::from_str(found).context("reading what axe-core found")?;
    ensure!(found["failed"].is_null(), "axe-core failed: {}", found["failed"]);
    let rules = found["rules"].as_u64().unwrap_or(0);
    ensure!(rules > 0, "axe-core has held nothing against any rule");
    let broken = found["broken"].as_array().map(Vec::as_slice).unwrap_or_default();
    let told: Vec<String> = broken.iter().map(rule).collect();
    ensure!(told.is_empty(), "view {}: {} rules are broken:\n{}", view.name, told.len(), told.join("\n"));
    eprintln!("axe-core, view {}: {rules} rules hold, none is broken", view.name);
    Ok(())
}

fn rule(broken: &Value) -> String {
    let nodes = broken["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let first = nodes.first().map(|node| format!("{} {}", node["target"], node["failureSummary"]));
    format!("{} ({} places): {}; {}", broken["id"], nodes.len(), broken["help"], first.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_checker_found_is_judged() {
        assert!(judged(r#"{"rules":12,"broken":[]}"#, VIEWS[0]).is_ok());
        assert!(judged(r#"{"rules":0,"broken":[]}"#, VIEWS[0]).is_err());
        assert!(judged(r#"{"failed":"no"}"#, VIEWS[0]).is_err());
        let broken = r##"{"rules":9,"broken":[{"id":"color-contrast","help":"more of it","nodes":[{"target":["#a"],"failureSummary":"fix"}]}]}"##;
        let why = judged(broken, VIEWS[2]).unwrap_err().to_string();
        assert!(why.contains("color-contrast") && why.contains("#a") && why.contains("narrow"), "{why}");
    }
}

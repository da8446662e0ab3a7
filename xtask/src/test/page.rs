//! The dashboard in a real browser: it draws itself, from live figures, and asks nobody but the server.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{
    clients, packages, paths,
    server::{Profile, Trueup},
    sh,
};

/// Virtual time that the page may use, in milliseconds: enough for a few rounds of figures.
const PAGE_TIME_MS: u32 = 5_000;
/// Time that the browser may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Opens the page and looks at what the browser made of it.
///
/// # Errors
/// When the page is empty, loads something from elsewhere, or the browser fails.
pub(crate) fn run() -> Result<()> {
    packages::ensure(&[packages::CHROMIUM])?;
    let binary = Trueup::build(Profile::Debug)?;
    let (_folder, database) = clients::bank()?;
    let server = Trueup::start(&binary, &database)?;
    let profile = paths::temporary("browser-")?;
    let address = format!("http://{}/", server.http);
    let page = sh::capture_within(LIMIT, browser(profile.path()).arg("--dump-dom").arg(&address))?;
    let shot = paths::cache("page")?.join("dashboard.png");
    let screenshot = format!("--screenshot={}", shot.display());
    sh::capture_within(
        LIMIT,
        browser(profile.path()).arg("--window-size=1280,900").arg(screenshot).arg(&address),
    )?;
    check(&page)?;
    eprintln!("the page as the browser shows it: {}", shot.display());
    server.stop()
}

fn browser(profile: &std::path::Path) -> std::process::Command {
    let mut chromium = sh::command("chromium");
    // Root may not use chromium's sandbox, and containers have little shared memory.
    chromium.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    // Nothing but the server can be reached: a page that needs more shows it here.
    chromium.arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1");
    chromium
        .arg(format!("--virtual-time-budget={PAGE_TIME_MS}"))
        .arg(format!("--user-data-dir={}", profile.display()));
    chromium
}

/// What must be true of the page after its scripts have run.
fn check(page: &str) -> Result<()> {
    let lower = page.to_lowercase();
    ensure!(lower.contains("trueup"), "the page does not name Trueup:\n{page}");
    for attribute in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
        let links_out =
            lower.contains(&format!("<script {attribute}")) || lower.contains(&format!("<link {attribute}"));
        ensure!(!links_out, "the page loads something from elsewhere ({attribute}...)");
    }
    // The classes come from the server by script: without live figures they are not there.
    for class in ["account", "branch", "mandate"] {
        ensure!(lower.contains(class), "the page does not show the class {class}:\n{page}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_page_without_live_classes_or_with_scripts_from_elsewhere_is_refused() {
        let good = "<title>Trueup</title><td>account<td>branch<td>mandate";
        assert!(check(good).is_ok());
        assert!(check("<title>Trueup</title>").is_err());
        assert!(check(&format!("{good}<script src=\"https://cdn.example/x.js\">")).is_err());
    }
}

//! The dashboard in a real browser: it draws itself, from live figures, and asks nobody but the server.

use anyhow::{Result, ensure};

use super::browser;
use crate::{
    clients, paths,
    server::{Profile, Trueup},
};

/// Opens the page and looks at what the browser made of it.
///
/// # Errors
/// When the page is empty, loads something from elsewhere, or the browser fails.
pub(crate) fn run() -> Result<()> {
    let binary = Trueup::build(Profile::Debug)?;
    let (_folder, database) = clients::bank()?;
    let server = Trueup::start(&binary, &database)?;
    let address = format!("http://{}/", server.http);
    let page = browser::dump(&address, browser::VIEWS[0])?;
    let shot = paths::cache("page")?.join("dashboard.png");
    browser::picture(&address, browser::VIEWS[0], &shot)?;
    check(&page)?;
    eprintln!("the page as the browser shows it: {}", shot.display());
    server.stop()
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

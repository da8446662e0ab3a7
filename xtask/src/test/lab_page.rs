//! The lab's report in a real browser: the one in the documents, and one that is made now. It asks nobody for anything, its
//! charts are there, and nobody is kept out of it.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::browser::{VIEWS, accessible, dump, picture};
use crate::{
    paths,
    server::{Profile, Trueup},
    sh,
};

/// The report of the last whole run.
const REPORT: &str = "docs/lab/incidents.html";
/// Incidents of a few seconds whose cards have all that a card can have.
const QUICK: [&str; 3] = ["forty-seven-keys", "search-explosion", "stampede"];
const LIMIT: Duration = Duration::from_secs(300);

/// Looks at both.
///
/// # Errors
/// When a page is not as it should be, or the lab or the browser fails.
pub(super) fn run() -> Result<()> {
    let server = Trueup::build(Profile::Debug)?;
    let folder = paths::cache("page")?;
    let made = folder.join("incidents.html");
    let mut lab = sh::command(server.with_file_name("trueup-lab"));
    lab.arg("run").args(QUICK).args(["--quick", "--format", "html", "--out"]).arg(&made);
    // Whether all went as told is another step's concern.
    sh::outcome_within(LIMIT, &mut lab)?;
    look("report", &paths::root().join(REPORT), &folder)?;
    look("made", &made, &folder)
}

fn look(name: &str, page: &Path, folder: &Path) -> Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    check(&text)?;
    let address = format!("file://{}", page.display());
    for view in VIEWS {
        let shown = dump(&address, view)?;
        ensure!(shown.contains("class=\"chart\""), "the browser shows no chart of {}", page.display());
        accessible(page, view)?;
        let shot = folder.join(format!("{name}-{}.png", view.name));
        picture(&address, view, &shot)?;
        eprintln!("{} as the browser shows it: {}", page.display(), shot.display());
    }
    Ok(())
}

/// What must be true of the page as it was written.
fn check(page: &str) -> Result<()> {
    for from_elsewhere in ["<script", "<link", "<img", "<iframe", "src=", "@import", "url("] {
        ensure!(!page.contains(from_elsewhere), "the page has `{from_elsewhere}`: it is to load nothing");
    }
    ensure!(page.contains("<article"), "the page has no incident");
    let (charts, told) = (page.matches("<svg class=\"chart\"").count(), page.matches("<desc id=").count());
    ensure!(charts > 0 && charts == told, "{charts} charts, {told} of them told in words");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_page_that_loads_something_or_tells_no_chart_is_refused() {
        let good = "<article><svg class=\"chart\"><desc id=\"a\">told</desc></svg></article>";
        assert!(check(good).is_ok());
        assert!(check("<article></article>").is_err());
        assert!(check("<article><svg class=\"chart\"></svg></article>").is_err());
        assert!(check(&format!("{good}<script>1</script>")).is_err());
    }
}

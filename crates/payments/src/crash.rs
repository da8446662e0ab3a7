//! Points at which a test kills or stops the process. In a build without the feature `crash-points` there are none.

/// Reaches the point `name`: with the feature `crash-points`, kills this process where `PAYMENTS_CRASH_AT` names it, stops it (as
/// SIGSTOP does, until somebody sends SIGCONT) where `PAYMENTS_STOP_AT` does, and pauses this worker alone, until there is a file
/// `PAYMENTS_PAUSE_UNTIL`, where `PAYMENTS_PAUSE_AT` does.
#[cfg(feature = "crash-points")]
pub(crate) fn reach(name: &str) {
    use rustix::process::{Signal, getpid, kill_process};
    let named = |variable| std::env::var_os(variable).is_some_and(|value| value == *name);
    if named("PAYMENTS_CRASH_AT") {
        let _ = kill_process(getpid(), Signal::KILL);
    }
    if named("PAYMENTS_PAUSE_AT") && !STOPPED.swap(true, std::sync::atomic::Ordering::SeqCst) {
        let until = std::env::var_os("PAYMENTS_PAUSE_UNTIL").unwrap_or_default();
        // Of this worker alone: the others' tasks are given to another thread.
        tokio::task::block_in_place(|| {
            while !std::path::Path::new(&until).exists() {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
    }
    if named("PAYMENTS_STOP_AT") && !STOPPED.swap(true, std::sync::atomic::Ordering::SeqCst) {
        let _ = kill_process(getpid(), Signal::STOP);
    }
}

/// A process is stopped, or paused, once.
#[cfg(feature = "crash-points")]
static STOPPED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Nothing, in a build that is to be run.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub(crate) const fn reach(_: &str) {}

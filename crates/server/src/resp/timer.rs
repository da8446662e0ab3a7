//! The one timer of a connection.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// What a connection can be too slow at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The peer does not take the bytes that wait for it; counts the bytes it has taken.
    Drain(u64),
    /// The peer does not finish a frame; counts the commands before it.
    Frame(u64),
    /// The peer asks nothing; counts the commands so far.
    Idle(u64),
}

/// Runs while one [`Wait`] lasts. It is set only when a connection has to wait for something that is limited, so a
/// request and its answer that come in one piece never touch it.
#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    running: Option<Wait>,
}

impl Timer {
    /// Starts the timer for `wait`; goes on without a new start if it runs for the same already.
    pub(super) fn watch(&mut self, wait: Option<(Wait, Duration)>) {
        let Some((wait, limit)) = wait else {
            self.running = None;
            return;
        };
        if self.running == Some(wait) {
            return;
        }
        self.running = Some(wait);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(Instant::now() + limit),
            None => self.sleep = Some(Box::pin(tokio::time::sleep(limit))),
        }
    }

    /// Ready when the wait has lasted too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match (&mut self.sleep, self.running) {
            (Some(sleep), Some(_)) => sleep.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}

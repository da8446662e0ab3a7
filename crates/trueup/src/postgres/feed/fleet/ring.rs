//! What was told lately, for those that follow this node.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, futures::Notified};
use trueup_core::{entry::EpochId, proof::Position};

use super::message::Told;

/// Most bytes that are handed out at once.
const HAND_OUT_BYTES_MAX: usize = 1 << 20;

/// Messages that continue one another, all of one epoch, the oldest dropped first.
pub(super) struct Ring {
    held: Mutex<Held>,
    moved: Notify,
    closed: AtomicBool,
    bytes_max: usize,
}

#[derive(Default)]
struct Held {
    epoch: Option<EpochId>,
    messages: VecDeque<Entry>,
    bytes: usize,
}

struct Entry {
    previous: Position,
    end: Position,
    bytes: Bytes,
}

/// What follows a position.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Messages, and where the last of them ends.
    Messages(Vec<Bytes>, Position),
    /// Nothing yet.
    Nothing,
    /// What follows is not held (any more), or not of that epoch.
    Gone,
}

impl Ring {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { held: Mutex::default(), moved: Notify::new(), closed: AtomicBool::new(false), bytes_max }
    }

    /// From now on nothing follows any position: whoever is told is let go.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// Holds a message. One that does not continue the last begins anew, one that is known is left out.
    pub(super) fn push(&self, told: &Told) {
        let message = &told.message;
        let bytes = told.encode();
        {
            let mut held = self.held.lock();
            let last = held.messages.back().map(|last| last.end);
            if held.epoch != Some(message.epoch) || last.is_some_and(|last| message.previous > last) {
                *held = Held { epoch: Some(message.epoch), ..Held::default() };
            } else if last.is_some_and(|last| message.end <= last) {
                return;
            }
            let Some(bytes) = bytes else {
                // Too long to be told: whoever follows begins anew behind it.
                *held = Held::default();
                return;
            };
            held.bytes += bytes.len();
            held.messages.push_back(Entry { previous: message.previous, end: message.end, bytes });
            while held.bytes > self.bytes_max && held.messages.len() > 1 {
                let oldest = held.messages.pop_front();
                held.bytes -= oldest.map_or(0, |oldest| oldest.bytes.len());
            }
        }
        self.moved.notify_waiters();
    }

    /// What follows `from`.
    pub(super) fn after(&self, epoch: EpochId, from: Position) -> After {
        if self.closed.load(Ordering::Acquire) {
            return After::Gone;
        }
        let held = self.held.lock();
        let Some(first) = held.messages.front() else { return After::Gone };
        if held.epoch != Some(epoch) || from < first.previous {
            return After::Gone;
        }
        // Who is ahead of a holder that has just taken over waits for what continues there.
        let begin = held.messages.partition_point(|entry| entry.end <= from);
        let (mut messages, mut bytes, mut end) = (Vec::new(), 0, from);
        for entry in held.messages.range(begin..) {
            messages.push(entry.bytes.clone());
            (bytes, end) = (bytes + entry.bytes.len(), entry.end);
            if bytes >= HAND_OUT_BYTES_MAX {
                break;
            }
        }
        if messages.is_empty() { After::Nothing } else { After::Messages(messages, end) }
    }

    /// Where the last message ends, and its epoch.
    pub(super) fn newest(&self) -> Option<(EpochId, Position)> {
        let held = self.held.lock();
        Some((held.epoch?, held.messages.back()?.end))
    }

    /// Ready once something is pushed after this call.
    pub(super) fn moved(&self) -> Notified<'_> {
        self.moved.notified()
    }
}

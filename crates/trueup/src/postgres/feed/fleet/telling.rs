//! What the holder does with each message of the log: compares it with what was applied before, remembers it, tells it.

use parking_lot::Mutex;
use trueup_core::proof::{Message, Position};

use super::{
    history::{Replay, Verdict},
    message::Told,
    node::Fleet,
    reader::Sink,
    saved::Ends,
};
use crate::postgres::identity::Instance;

/// Tells others what was applied here.
pub(super) struct Telling<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) ends: &'a Ends,
    /// The start of the server that tells.
    pub(super) instance: Instance,
    /// Nobody in the epoch has applied anything beyond.
    pub(super) covers: Position,
    /// What has to be met again first.
    pub(super) replay: Mutex<Option<Replay>>,
}

impl Sink for Telling<'_> {
    fn judge(&self, message: &Message, committed_at_us: &[u64]) -> Verdict {
        let mut replay = self.replay.lock();
        let verdict = replay.as_mut().map_or(Verdict::Same, |replay| replay.take(message, committed_at_us));
        if verdict == Verdict::Same && replay.take().is_some() {
            self.fleet.continues_in(self.instance);
        }
        verdict
    }

    fn applied(&self, told: &Told) {
        self.fleet.note(told);
        if told.message.end >= self.covers {
            self.fleet.remember(|memory| memory.led = true);
        }
        self.ends.push(told.message.end);
        self.fleet.ring().push(told);
    }
}

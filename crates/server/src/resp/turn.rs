//! Replies that wait for their turn.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{StreamExt as _, stream::FuturesOrdered};

use super::{reply::Encoded, service::PendingReply};

/// Replies of one connection behind one that is not ready yet, in the order of their commands.
#[derive(Default)]
pub(super) struct Queue {
    turns: FuturesOrdered<Turn>,
    /// Bytes of the replies that were ready when they were queued.
    ready_bytes: usize,
}

enum Turn {
    Ready(Encoded),
    Running(PendingReply),
}

impl Future for Turn {
    type Output = (Encoded, usize);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Ready(reply) => {
                let reply = std::mem::take(reply);
                let ready_bytes = reply.0.len();
                Poll::Ready((reply, ready_bytes))
            }
            Self::Running(reply) => reply.as_mut().poll(cx).map(|reply| (reply, 0)),
        }
    }
}

impl Queue {
    /// Replies in the queue.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.turns.len()
    }

    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Bytes known to wait here.
    #[inline]
    pub(super) fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// Queues a reply that is ready behind those that are not.
    pub(super) fn push_ready(&mut self, reply: Encoded) {
        self.ready_bytes += reply.0.len();
        self.turns.push_back(Turn::Ready(reply));
    }

    /// Queues a reply that comes later.
    pub(super) fn push_running(&mut self, reply: PendingReply) {
        self.turns.push_back(Turn::Running(reply));
    }

    /// Moves replies whose turn has come to `out`; true if there was one.
    pub(super) fn take_ready(&mut self, out: &mut Vec<u8>, cx: &mut Context<'_>) -> bool {
        let mut taken = false;
        while let Poll::Ready(Some((reply, ready_bytes))) = self.turns.poll_next_unpin(cx) {
            self.ready_bytes -= ready_bytes;
            if out.is_empty() {
                *out = reply.0;
            } else {
                out.extend_from_slice(&reply.0);
            }
            taken = true;
        }
        taken
    }
}

//! Reads of rows that were written behind: what this node has accepted lies over what the source is known to hold.
//!
//! Such an answer is never proven and gives no token. It is shown for the class's life at most; a write that has not reached the
//! source by then makes its row unreadable here, rather than showing what is older than what was acknowledged.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::ClassCore;
use crate::{
    class::ClassName,
    entry::CacheValue,
    env::Nanos,
    error::ReadError,
    fill::{Overlay, Pending, WriteBehind},
    key::Key,
    proof::{Need, Position, Proof},
    receipt::{Cached, Miss, Receipt, ServedBy, content_version},
    source::LoadError,
    tier::{Entry, Stay},
};

/// The journal of a class's writes, and what readers see of them.
pub(crate) struct Behind {
    pub(super) engine: WriteBehind,
    pub(super) overlay: Arc<Overlay>,
}

impl Behind {
    pub(super) fn new(engine: WriteBehind, class: &ClassName) -> Self {
        let overlay = engine.overlay(class);
        Self { engine, overlay }
    }
}

impl<K, V> ClassCore<K, V>
where
    K: Clone + Send + Sync + 'static,
    V: CacheValue,
{
    /// What is laid over a key.
    pub(super) fn pending_of(&self, canonical: &Key) -> Option<Pending> {
        let overlay = &self.behind.as_ref()?.overlay;
        overlay.get(canonical.as_str(), &self.ledger, self.clock.now(), self.plan.life)
    }

    /// Forgets what the feed has told.
    pub(super) fn purge_pending(&self, now: Nanos) {
        if let Some(behind) = &self.behind {
            behind.overlay.purge(&self.ledger, now, self.plan.life);
        }
    }

    /// The row with what is laid over it; the row itself is read where something of it shows through.
    pub(super) async fn read_beneath(
        self: &Arc<Self>,
        pending: Pending,
        key: &K,
        canonical: &Key,
        need: &Need,
    ) -> Result<Cached<V>, ReadError> {
        if pending.whole {
            return self.lay_over(&pending, None);
        }
        let in_memory = self.tier.get(canonical.as_str()).filter(|entry| self.judge(entry, need).is_ok());
        let beneath = match in_memory {
            Some(entry) => entry,
            None => {
                let missed = super::hit::Missed { why: Miss::Cold, unproven: None };
                Arc::clone(self.load_missed(key, canonical, need, missed).await?.entry())
            }
        };
        self.lay_over(&pending, Some(&beneath))
    }

    /// Answers of several keys, with what is laid over each.
    pub(super) fn lay_over_each(
        &self,
        canonical: &[Key],
        answers: Vec<Result<Cached<V>, ReadError>>,
    ) -> Vec<Result<Cached<V>, ReadError>> {
        if self.behind.is_none() {
            return answers;
        }
        let each = |(key, answer): (&Key, Result<Cached<V>, ReadError>)| match self.pending_of(key) {
            None => answer,
            Some(pending) if pending.whole => self.lay_over(&pending, None),
            Some(pending) => self.lay_over(&pending, Some(answer?.entry())),
        };
        canonical.iter().zip(answers).map(each).collect()
    }

    fn lay_over(&self, pending: &Pending, beneath: Option<&Arc<Entry<V>>>) -> Result<Cached<V>, ReadError> {
        let answer = self.laid_over(pending, beneath);
        match &answer {
            Ok(_) => self.stats.served(ServedBy::Pending),
            Err(error) => self.stats.failed(error),
        }
        answer
    }

    fn laid_over(&self, pending: &Pending, beneath: Option<&Arc<Entry<V>>>) -> Result<Cached<V>, ReadError> {
        let age = self.clock.now().since(pending.accepted);
        if age > self.plan.life {
            let why = format!(
                "a write that was accepted {} s ago has not reached it, and the class's life is over",
                age.as_secs()
            );
            return Err(LoadError::Unavailable(why.into()).into());
        }
        let unfit = || LoadError::Refused("what was written does not fit what the class is read as".into());
        let mut base = Vec::new();
        let base = match beneath.and_then(|entry| entry.value()) {
            Some(value) => {
                value.encode(&mut base).map_err(|_| unfit())?;
                Some(base.as_slice())
            }
            None => None,
        };
        let json: Option<Bytes> = pending.change.over(base).map_err(|_| unfit())?;
        let version = content_version(json.as_deref());
        let value = json.as_ref().map(V::decode).transpose().map_err(|_| unfit())?;
        let nobody = Key::nobody();
        let entry = Arc::new(Entry::new(nobody, value, version, 0, Proof::none(), gone()));
        let receipt = Receipt {
            served_by: ServedBy::Pending,
            age,
            proven: false,
            watermark: Position::ZERO,
            miss: Some(Miss::Bypass),
        };
        Ok(Cached::new(entry, receipt))
    }
}

/// Of an entry that is kept nowhere.
const fn gone() -> Stay {
    Stay {
        loaded: Nanos::ZERO,
        load_time: Duration::ZERO,
        expires: Nanos::ZERO,
        hard_expires: Nanos::ZERO,
        refresh_from: Nanos(u64::MAX),
    }
}

//! Leases: who may fill a key of a class whose values its clients load.
//!
//! The first client that misses gets the lease of the key, the others wait for what it brings. A fill counts only while its
//! lease runs, and only if nothing was invalidated since the lease was given: a client that was slow cannot put back what
//! somebody has just taken out.

use std::{collections::HashMap, fmt, str::FromStr, time::Duration};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    env::{Nanos, random},
    key::{Key, KeyHashBuilder},
    proof::Load,
};

/// Most leases of one class that run at once on a node. A lease holds a few hundred bytes, and recent changes.
pub const LEASES_MAX: usize = 65_536;

/// Names one lease. Its text form is 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId(u64);

/// The text is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a lease: pass the 16 hexadecimal digits that came with it")]
pub struct BadLease;

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for LeaseId {
    type Err = BadLease;

    fn from_str(text: &str) -> Result<Self, BadLease> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        number.map(Self).ok_or(BadLease)
    }
}

/// The answer to a client that wants to fill a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It may, under this lease.
    Granted(LeaseId),
    /// Another client may already, for this long at most.
    Held(Duration),
    /// Too many leases run.
    Full,
}

/// The leases of one class that run on this node.
pub(crate) struct Leases {
    held: Mutex<HashMap<Key, Held, KeyHashBuilder>>,
    life: Duration,
    ended: Notify,
}

struct Held {
    id: LeaseId,
    until: Nanos,
    /// Keeps what was invalidated since the lease was given.
    load: Load,
}

impl Leases {
    /// No lease yet; each is to run for `life`.
    pub(crate) fn new(life: Duration) -> Self {
        Self { held: Mutex::default(), life, ended: Notify::new() }
    }

    /// How long a lease runs.
    pub(crate) const fn life(&self) -> Duration {
        self.life
    }

    /// A lease of `key`, unless one runs. `begin` notes what the filler certainly sees: everything told before.
    pub(crate) fn claim(&self, key: &Key, now: Nanos, begin: impl FnOnce() -> Load) -> Claim {
        let mut held = self.held.lock();
        if let Some(other) = held.get(key).filter(|other| now < other.until) {
            return Claim::Held(other.until.since(now));
        }
        if held.len() >= LEASES_MAX {
            held.retain(|_, lease| now < lease.until);
            if held.len() >= LEASES_MAX {
                return Claim::Full;
            }
        }
        let id = LeaseId(random::number());
        // One that has lapsed is replaced: whoever held it fills nothing any more.
        held.insert(key.clone(), Held { id, until: now.after(self.life), load: begin() });
        Claim::Granted(id)
    }

    /// Ends the lease `id` of `key` and returns what it has kept; none if it does not run any more.
    pub(crate) fn end(&self, key: &Key, id: LeaseId, now: Nanos) -> Option<Load> {
        let mut held = self.held.lock();
        let runs = held.get(key).is_some_and(|lease| lease.id == id && now < lease.until);
        let ended = runs.then(|| held.remove(key)).flatten();
        drop(held);
        ended.map(|lease| lease.load)
    }

    /// Wakes who waits for a lease to end.
    pub(crate) fn wake(&self) {
        self.ended.notify_waiters();
    }

    /// Ends when some lease of the class has ended, or after `limit`.
    pub(crate) async fn until_ended(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.ended.notified()).await;
    }

    /// Lets go of the leases that have lapsed: each holds recent changes.
    pub(crate) fn purge(&self, now: Nanos) {
        let mut held = self.held.lock();
        let before = held.len();
        held.retain(|_, lease| now < lease.until);
        let lapsed = held.len() < before;
        drop(held);
        if lapsed {
            self.wake();
        }
    }

    /// Leases that are held at the moment, lapsed ones included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.held.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::Clock, key::KeyForm, proof::Ledger};

    fn key(text: &str) -> Key {
        let part = crate::key::Part::new("id", crate::key::ColumnForm::Opaque);
        KeyForm::columns([part]).unwrap().parse(text).unwrap()
    }

    struct Table {
        leases: Leases,
        ledger: std::sync::Arc<Ledger>,
        clock: Clock,
    }

    impl Table {
        fn new() -> Self {
            let leases = Leases::new(Duration::from_secs(5));
            Self { leases, ledger: Ledger::new(1 << 10, 100), clock: Clock::stepped() }
        }

        fn claim(&self, text: &str) -> Claim {
            let now = self.clock.now();
            self.leases.claim(&key(text), now, || self.ledger.begin_load(now, 1))
        }

        fn granted(&self, text: &str) -> LeaseId {
            match self.claim(text) {
                Claim::Granted(id) => id,
                other => panic!("{other:?}"),
            }
        }

        fn end(&self, text: &str, id: LeaseId) -> bool {
            self.leases.end(&key(text), id, self.clock.now()).is_some()
        }
    }

    #[test]
    fn one_client_may_fill_and_the_others_are_told_how_long() {
        let table = Table::new();
        let id = table.granted("a");
        table.clock.advance(Duration::from_secs(2));
        assert_eq!(table.claim("a"), Claim::Held(Duration::from_secs(3)));
        assert_ne!(table.granted("b"), id);
        assert!(table.end("a", id) && !table.end("a", id), "a lease fills once");
        table.granted("a");
    }

    #[test]
    fn a_lapsed_lease_fills_nothing_and_is_given_to_the_next() {
        let table = Table::new();
        let slow = table.granted("a");
        table.clock.advance(Duration::from_secs(5));
        assert!(!table.end("a", slow), "it has lapsed");
        let next = table.granted("a");
        assert!(!table.end("a", slow), "it is another's by now");
        assert!(table.end("a", next));
    }

    #[test]
    fn another_keys_lease_fills_nothing() {
        let table = Table::new();
        let (a, _) = (table.granted("a"), table.granted("b"));
        assert!(!table.end("b", a));
        assert!(table.end("a", a));
    }

    #[test]
    fn lapsed_leases_are_let_go() {
        let table = Table::new();
        table.granted("a");
        table.clock.advance(Duration::from_secs(3));
        table.granted("b");
        table.clock.advance(Duration::from_secs(2));
        table.leases.purge(table.clock.now());
        assert_eq!(table.leases.len(), 1);
    }

    #[test]
    fn there_are_only_so_many() {
        let table = Table::new();
        (0..LEASES_MAX).for_each(|n| _ = table.granted(&n.to_string()));
        assert_eq!(table.claim("one more"), Claim::Full);
        table.clock.advance(Duration::from_secs(5));
        table.granted("one more");
        assert_eq!(table.leases.len(), 1, "what had lapsed made room");
    }

    #[test]
    fn its_text_names_it_and_nothing_else_does() {
        let id = LeaseId(0x0123_4567_89ab_cdef);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "1", "0123456789abcdeg", "0123456789abcdef0", "+123456789abcdef"] {
            assert_eq!(text.parse::<LeaseId>(), Err(BadLease), "{text:?}");
        }
    }
}

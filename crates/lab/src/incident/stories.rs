//! Which incidents there are, and their stories.

use super::{
    Incident, avalanche, composite, double_spend, keys, lost_update, own_write, penetration,
    race::{self, Habit},
    search, stampede, wrong_user,
};

/// Every incident.
pub(crate) const INCIDENTS: &[Incident] = &[
    Incident {
        name: "lost-update",
        story: "Two programs add to a balance that each has read from the cache. 1,200 and 850 were paid in; one of the two is gone, and a customer saw the balance go back.",
        naive: "reads the cached balance, adds, writes the sum to the database and to the cache",
        protection: "the sum is made of a balance that is read and locked in the transaction; what is shown carries the write's token",
        run: |setup, way| Box::pin(lost_update::run(setup, way)),
    },
    Incident {
        name: "double-spend",
        story: "Many payments are authorised at once against one cached balance that covers half of them.",
        naive: "checks the cached balance, debits the database, deletes the entry",
        protection: "an Authoritative value, which only a transaction gives, decides; a Cached one does not fit",
        run: |setup, way| Box::pin(double_spend::run(setup, way)),
    },
    Incident {
        name: "nightly-reconciliation",
        story: "A job adjusts balances at night by plain SQL. Nobody told it of the cache, and customers see yesterday's balance until the entries end.",
        naive: "deletes on each write that the service itself makes",
        protection: "the database's own change log is read: whoever wrote, the entry is no longer proven",
        run: |setup, way| Box::pin(race::run(setup, way, Habit::JobBeside)),
    },
    Incident {
        name: "stale-fill",
        story: "A reader misses and reads the old row; a writer changes the row and deletes the entry; the reader stores what it read. The old value stays for its whole life.",
        naive: "cache-aside with delete on write",
        protection: "an entry carries the snapshot that its reader saw, and is served only if nothing it depends on has changed since",
        run: |setup, way| Box::pin(race::run(setup, way, Habit::DeleteOnWrite)),
    },
    Incident {
        name: "write-order",
        story: "Two writers change a row one after the other, and the cache the other way round: shipped after delivered.",
        naive: "writes the new value into the cache after each commit",
        protection: "nobody writes into the cache: what is loaded is ordered by the database's own positions",
        run: |setup, way| Box::pin(race::run(setup, way, Habit::SetOnWrite)),
    },
    Incident {
        name: "double-delete",
        story: "The advice for the race between fill and write: delete, update, delete again after a while. A read that takes longer than the while stores the old value all the same.",
        naive: "deletes, writes, waits 5 ms and deletes again",
        protection: "no wait has to be guessed: the proof knows what the fill saw",
        run: |setup, way| Box::pin(race::run(setup, way, Habit::DeleteTwice)),
    },
    Incident {
        name: "own-write",
        story: "A user changes a nickname, is sent to another machine, and sees the old one.",
        naive: "a map on each machine; a write deletes from its own",
        protection: "the write gives a token; a read that carries it reflects the write, on any node",
        run: |setup, way| Box::pin(own_write::run(setup, way)),
    },
    Incident {
        name: "stampede",
        story: "The most read key ends, and a thousand requests compute it at once.",
        naive: "each reader who misses asks the database",
        protection: "one load per key, and everybody has its answer",
        run: |setup, way| Box::pin(stampede::run(setup, way)),
    },
    Incident {
        name: "avalanche-ttl",
        story: "Entries that were written together in the morning end in the same second, and their readers meet at the database.",
        naive: "one life for all entries",
        protection: "a proven entry at the end of its life is renewed without a load",
        run: |setup, way| Box::pin(avalanche::run(setup, way)),
    },
    Incident {
        name: "penetration",
        story: "A crawler asks for ids that do not exist. No cache holds what is not there, so each of them reaches the database.",
        naive: "keeps what was found",
        protection: "a filter of the keys there are, kept true by the change log: what is not in it is absent, proven",
        run: |setup, way| Box::pin(penetration::run(setup, way)),
    },
    Incident {
        name: "forty-seven-keys",
        story: "One product was cached under 47 keys: other order, other letter case, True and 1, a campaign's parameter.",
        naive: "the query string is the key",
        protection: "each class declares one normal form of its keys",
        run: |setup, way| Box::pin(keys::run(setup, way)),
    },
    Incident {
        name: "wrong-user",
        story: "The key was written before there were tenants. One customer is shown the statement of another.",
        naive: "the query names the tenant, the key does not",
        protection: "the class declares its scope: a read without it does not compile, and a class opened without it is refused",
        run: |setup, way| Box::pin(wrong_user::run(setup, way)),
    },
    Incident {
        name: "stale-composite",
        story: "A cached order shows the nickname of its buyer. The nickname changes; the order's entry does not.",
        naive: "whoever renames a user deletes the user's entry",
        protection: "a query's tables are found by the database itself, and a change of any of them ends its entries",
        run: |setup, way| Box::pin(composite::run(setup, way)),
    },
    Incident {
        name: "search-explosion",
        story: "A search page has more combinations of filters than there will ever be visitors. Each result is kept once and never asked for again, in the place of one that is.",
        naive: "keeps every result, drops what was used longest ago",
        protection: "only what is asked for again is kept, and no more than so many keys",
        run: |setup, way| Box::pin(search::run(setup, way)),
    },
];

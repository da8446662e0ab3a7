use super::*;

struct Note {
    key: String,
    version: u64,
    bytes: usize,
}

impl Weighed for Note {
    fn weight(&self) -> usize {
        self.bytes
    }
    fn key(&self) -> &str {
        &self.key
    }
}

fn note(key: &str, version: u64, bytes: usize) -> Arc<Note> {
    Arc::new(Note { key: key.to_owned(), version, bytes })
}

fn tier(policy: Policy, capacity: usize) -> MemoryTier<Note> {
    MemoryTier::new(&MemoryConfig::new(capacity).with_policy(policy).with_overhead_bytes(0))
}

#[test]
fn an_older_entry_never_replaces_a_newer_one() {
    for policy in Policy::ALL {
        let tier = tier(policy, 1000);
        assert!(tier.insert(note("a", 2, 10)).is_stored());
        let newest = |held: &Note, new: &Note| held.version > new.version;
        let Insertion::Kept(kept) = tier.insert_unless(note("a", 1, 10), newest) else {
            panic!("{policy}: replaced by an older entry")
        };
        assert_eq!(kept.version, 2);
        assert!(
            matches!(tier.insert_unless(note("a", 3, 10), newest), Insertion::Replaced(old) if old.version == 2)
        );
        assert_eq!(tier.get("a").unwrap().version, 3);
        assert_eq!((tier.len(), tier.weight(), tier.departures().replaced), (1, 10, 1), "{policy}");
    }
}

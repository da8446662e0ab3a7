//! Ids that are the same on every run.

use uuid::Uuid;

use super::BusinessDate;

/// What all ids of this kind are named under: version 5 of `https://trueup.dev/once/jobs` under the namespace of URLs. Never
/// to be changed: what has been posted is named by it.
const NAMESPACE: Uuid = Uuid::from_bytes([
    0x5d, 0x9d, 0x3e, 0x2e, 0xb8, 0xe3, 0x56, 0x81, 0x98, 0xc9, 0x2c, 0x0d, 0xf0, 0x36, 0x44, 0xe0,
]);

/// The id of what `job` does on `date` for `item` (an account, say): UUID version 5, the same on every run. A posting with this id as its primary key is
/// made once.
///
/// **Safe to repeat: yes.** It computes.
#[must_use]
pub fn id(job: &str, date: BusinessDate, item: &str) -> Uuid {
    // With lengths, so that no two lists of parts are the same name.
    let mut name = Vec::with_capacity(job.len() + item.len() + 26);
    for part in [job, &date.to_string(), item] {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_names_give_the_same_id_in_every_release() {
        let date = BusinessDate::new(2026, 11, 26).unwrap();
        let first = id("settlement", date, "account-1");
        assert_eq!(first, id("settlement", date, "account-1"));
        assert_eq!(first.get_version_num(), 5);
        assert_eq!(first.to_string(), "ae0252a7-a235-5839-99e8-4b1285f377b9");
    }

    #[test]
    fn other_names_give_other_ids() {
        let date = BusinessDate::new(2026, 11, 26).unwrap();
        let ids = [
            id("a", date, "bc"),
            id("ab", date, "c"),
            id("a", date, "bcd"),
            id("a", BusinessDate::new(2026, 11, 27).unwrap(), "bc"),
        ];
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}

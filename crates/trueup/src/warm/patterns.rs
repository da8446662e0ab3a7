//! What many keys of several parts have in common: all but one of their parts.

use compact_str::CompactString;
use trueup_core::policy::{Counted, HotKeys, SpaceSaving};

/// Keys of more parts have no patterns: there would be one for each.
const PARTS_MAX: usize = 8;
/// A pattern is told if so great a share of the class's requests fit it,
const SHARE_MIN: f64 = 0.01;
/// and so many times as many as have the hottest key of those that fit: else that key says it better.
const TIMES_OF_A_KEY: u64 = 2;
/// Most patterns that are told: each is tried in turn for each key.
const PATTERNS_MAX: usize = 64;
/// Keys that a pattern is held against.
const KEYS_COMPARED: usize = 10_000;

/// The patterns of a key in normal form: each with `*` for the value of one part.
pub(super) fn of(key: &str) -> Vec<CompactString> {
    // A scope is no part: what one tenant asks for is nobody else's.
    let (scope, body) = match key.strip_prefix('@').and_then(|rest| rest.find(':').map(|at| at + 2)) {
        Some(end) => key.split_at(end),
        None => ("", key),
    };
    let separator = if body.contains('&') { '&' } else { ',' };
    let parts: Vec<&str> = body.split(separator).collect();
    if !(2..=PARTS_MAX).contains(&parts.len()) {
        return Vec::new();
    }
    let with_any = |at: usize| {
        let mut pattern = CompactString::from(scope);
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                pattern.push(separator);
            }
            match part.split_once('=') {
                Some((name, _)) if index == at && separator == '&' => {
                    pattern.push_str(name);
                    pattern.push_str("=*");
                }
                _ if index == at => pattern.push('*'),
                _ => pattern.push_str(part),
            }
        }
        pattern
    };
    (0..parts.len()).map(with_any).collect()
}

/// The patterns that say more than any one key, those of most requests first.
pub(super) fn worth_telling<'s>(
    patterns: &'s SpaceSaving<CompactString>,
    keys: &SpaceSaving<CompactString>,
) -> Vec<&'s Counted<CompactString>> {
    let least = (keys.seen() as f64 * SHARE_MIN).ceil() as u64;
    let hottest = keys.hottest(KEYS_COMPARED);
    let says_more = |pattern: &&Counted<CompactString>| {
        let Ok(fits) = HotKeys::parse(&pattern.key) else { return false };
        let of_a_key = hottest.iter().filter(|key| fits.contains(&key.key)).map(|key| key.count).max();
        pattern.certain() >= least.max(of_a_key.unwrap_or(0) * TIMES_OF_A_KEY)
    };
    let all = patterns.hottest(KEYS_COMPARED).into_iter();
    all.take_while(|pattern| pattern.certain() >= least).filter(says_more).take(PATTERNS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_may_be_any() {
        assert_eq!(of("shoes,red"), ["*,red", "shoes,*"]);
        assert_eq!(of("@tenant=a,b:shoes,red"), ["@tenant=a,b:*,red", "@tenant=a,b:shoes,*"]);
        assert_eq!(of("colour=red&page=1,2"), ["colour=*&page=1,2", "colour=red&page=*"]);
        assert!(of("42").is_empty() && of("1,2,3,4,5,6,7,8,9").is_empty() && of("@tenant=a,b:42").is_empty());
    }

    #[test]
    fn a_pattern_is_told_where_no_key_of_it_says_as_much() {
        let (mut keys, mut patterns) = (SpaceSaving::new(1_000), SpaceSaving::new(1_000));
        let mut ask = |key: &str, times| {
            keys.note_times(key, times, || (key.into(), ()));
            for pattern in of(key) {
                patterns.note_times(pattern.as_str(), times, || (pattern.clone(), ()));
            }
        };
        (0..100).for_each(|page| ask(&format!("hats,{page}"), 2));
        ask("shoes,1", 500);
        ask("shoes,2", 3);
        let told: Vec<_> =
            worth_telling(&patterns, &keys).iter().map(|one| (one.key.as_str(), one.count)).collect();
        assert_eq!(told, [("hats,*", 200)], "of shoes one key is nearly all");
    }
}

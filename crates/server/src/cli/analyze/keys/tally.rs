//! Spellings and keys of each class, counted in memory that does not grow with the log.

use std::collections::BTreeMap;

use compact_str::CompactString;
use trueup_core::{
    key::KeyForm,
    policy::{Counted, Distinct, SpaceSaving},
};

use super::{
    difference::{Difference, Explainer},
    form::{Form, Wishes},
    parameters::Parameters,
};
use crate::cli::Failure;

/// Classes that are counted: a file of something else must not fill the memory with its words.
const CLASSES_MAX: usize = 64;
/// Spellings, and keys, of a class that are counted exactly; an error of 0.4 % beyond.
const COUNTED_EXACTLY: usize = 65_536;
/// Spellings of one key that are counted exactly; an error of 9 % beyond.
const SPELLINGS_KEPT: usize = 128;
/// Spellings of one key that are shown at most.
const EXAMPLES_MAX: usize = 8;
/// Keys of a class from whose values its form is learned,
const LEARNED_KEYS: usize = 20_000;
/// and their bytes at most.
const LEARNED_BYTES: usize = 4 << 20;

/// What was asked for, class by class.
pub(super) struct Tally {
    forms: Option<BTreeMap<String, KeyForm>>,
    wishes: Wishes,
    keys_max: usize,
    classes: BTreeMap<CompactString, Class>,
    /// Lines whose key is none of its class.
    pub(super) unknown: u64,
}

/// One class.
pub(super) struct Class {
    /// Requests for keys of the class.
    pub(super) requests: u64,
    stage: Stage,
    sizes: Sizes,
}

enum Stage {
    /// The first keys are kept until they tell what the values are.
    Learning {
        keys: Vec<(CompactString, u64)>,
        bytes: usize,
        parameters: Box<Parameters>,
    },
    Counting(Box<Counting>),
}

/// Answers' sizes as the log tells them.
#[derive(Default)]
struct Sizes {
    answers: u64,
    bytes: u64,
}

/// What is counted once the form is known.
pub(super) struct Counting {
    pub(super) form: Form,
    explainer: Explainer,
    /// Keys as they are written.
    pub(super) spellings: Distinct,
    /// Keys in normal form.
    pub(super) keys: Distinct,
    pub(super) groups: SpaceSaving<CompactString, Group>,
    pub(super) parameters: Parameters,
}

/// The spellings of one key.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) spellings: Distinct,
    /// Spellings that were compared with the first: all others, as long as they are counted exactly.
    compared: u64,
    /// How many of them differ so.
    differing: BTreeMap<Difference, u64>,
    /// The first spelling, then others.
    pub(super) examples: Vec<(CompactString, Vec<Difference>)>,
}

impl Tally {
    /// Counts `keys_max` keys of each class at once. Classes without a form get one that is learned.
    pub(super) const fn new(
        forms: Option<BTreeMap<String, KeyForm>>,
        wishes: Wishes,
        keys_max: usize,
    ) -> Self {
        Self { forms, wishes, keys_max, classes: BTreeMap::new(), unknown: 0 }
    }

    /// Counts a request.
    pub(super) fn note(
        &mut self,
        class: &str,
        key: &str,
        times: u64,
        bytes: Option<u64>,
    ) -> Result<(), Failure> {
        if !self.classes.contains_key(class) {
            let form = match &self.forms {
                Some(forms) => forms.get(class).map(|form| Some(form.clone())),
                None => Some(None),
            };
            let Some(form) = form.filter(|_| self.classes.len() < CLASSES_MAX) else {
                self.unknown += 1;
                return Ok(());
            };
            let stage = match form {
                Some(form) => Stage::Counting(Box::new(Counting::new(Form::own(form), self.keys_max))),
                None => Stage::Learning { keys: Vec::new(), bytes: 0, parameters: Box::default() },
            };
            self.classes.insert(class.into(), Class { requests: 0, stage, sizes: Sizes::default() });
        }
        let Some(class) = self.classes.get_mut(class) else { return Ok(()) };
        if let Some(bytes) = bytes {
            class.sizes.answers += 1;
            class.sizes.bytes += bytes;
        }
        match &mut class.stage {
            Stage::Learning { keys, bytes, .. } => {
                class.requests += times;
                keys.push((key.into(), times));
                *bytes += key.len();
                if keys.len() >= LEARNED_KEYS || *bytes >= LEARNED_BYTES {
                    self.unknown += class.learn(&self.wishes, self.keys_max)?;
                }
            }
            Stage::Counting(counting) => {
                if counting.note(key, times) {
                    class.requests += times;
                } else {
                    self.unknown += 1;
                }
            }
        }
        Ok(())
    }

    /// Ends counting, after the last line.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        for class in self.classes.values_mut() {
            self.unknown += class.learn(&self.wishes, self.keys_max)?;
        }
        Ok(())
    }

    /// What was counted of each class, once counting has ended.
    pub(super) fn classes(&self) -> impl Iterator<Item = (&str, &Class, &Counting)> {
        self.classes.iter().filter_map(|(name, class)| match &class.stage {
            Stage::Counting(counting) => Some((name.as_str(), class, &**counting)),
            Stage::Learning { .. } => None,
        })
    }
}

impl Class {
    /// Bytes of an answer, on the average of those that the log tells.
    pub(super) fn logged_bytes(&self) -> Option<u64> {
        self.sizes.bytes.checked_div(self.sizes.answers)
    }

    /// Learns the form from the keys that were kept, and counts them. Returns how many were none of it.
    fn learn(&mut self, wishes: &Wishes, keys_max: usize) -> Result<u64, Failure> {
        let Stage::Learning { keys, parameters, .. } = &mut self.stage else { return Ok(0) };
        let keys = std::mem::take(keys);
        let is_plain = !keys.iter().any(|(key, _)| key.contains('='));
        keys.iter().for_each(|(key, times)| parameters.note(body_of(key), is_plain, *times));
        let mut counting = Counting::new(Form::learned(parameters, is_plain, wishes)?, keys_max);
        let mut refused = 0;
        for (key, times) in keys {
            if !counting.note(&key, times) {
                refused += 1;
                self.requests -= times;
            }
        }
        self.stage = Stage::Counting(Box::new(counting));
        Ok(refused)
    }
}

/// A key without its scope.
fn body_of(key: &str) -> &str {
    key.strip_prefix('@').and_then(|rest| rest.split_once(':')).map_or(key, |(_, body)| body)
}

impl Counting {
    fn new(form: Form, keys_max: usize) -> Self {
        Self {
            explainer: Explainer::new(&form),
            form,
            spellings: Distinct::new(COUNTED_EXACTLY),
            keys: Distinct::new(COUNTED_EXACTLY),
            groups: SpaceSaving::new(keys_max),
            parameters: Parameters::default(),
        }
    }

    /// Counts a request; false if the key is none of the class.
    fn note(&mut self, spelling: &str, times: u64) -> bool {
        if self.form.parameters().is_some() {
            self.parameters.note(body_of(spelling), false, times);
        }
        let Some(key) = self.form.normal(spelling) else { return false };
        self.spellings.note(spelling);
        self.keys.note(&key);
        self.groups.note_times(key.as_str(), times, || (key.clone(), Group::default()));
        let Some(group) = self.groups.get_mut(key.as_str()) else { return true };
        if !group.spellings.note(spelling) {
            return true;
        }
        let Some((first, _)) = group.examples.first() else {
            group.examples.push((spelling.into(), Vec::new()));
            return true;
        };
        let differences = self.explainer.differences(&self.form, first, spelling);
        group.compared += 1;
        for difference in &differences {
            *group.differing.entry(*difference).or_default() += 1;
        }
        if group.examples.len() < EXAMPLES_MAX {
            group.examples.push((spelling.into(), differences));
        }
        true
    }

    /// The keys with most spellings, two at least.
    pub(super) fn worst(&self, most: usize) -> Vec<&Counted<CompactString, Group>> {
        let mut worst: Vec<_> =
            self.groups.entries().iter().filter(|group| group.with.spellings.count() > 1).collect();
        worst.sort_by_key(|group| std::cmp::Reverse((group.with.spellings.count(), group.count)));
        worst.truncate(most);
        worst
    }
}

impl Group {
    /// How many spellings differ so from the first. Of more than are counted exactly, those that were compared stand for the rest.
    pub(super) fn differences(&self) -> impl Iterator<Item = (Difference, u64)> {
        let others = self.spellings.count().saturating_sub(1) as f64;
        let scale = if self.spellings.is_exact() { 1.0 } else { others / self.compared.max(1) as f64 };
        self.differing.iter().map(move |(what, count)| (*what, (*count as f64 * scale).round() as u64))
    }
}

impl Default for Group {
    fn default() -> Self {
        Self {
            spellings: Distinct::new(SPELLINGS_KEPT),
            compared: 0,
            differing: BTreeMap::new(),
            examples: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally(lines: &[(&str, u64)]) -> Tally {
        let mut tally = Tally::new(None, Wishes::default(), 1_000);
        for (key, times) in lines {
            tally.note("search", key, *times, Some(100)).unwrap();
        }
        tally
    }

    #[test]
    fn spellings_of_one_key_are_one_group_with_what_tells_them_apart() {
        let mut tally = tally(&[
            ("q=red+shoes&stock=true", 5),
            ("stock=true&q=red+shoes", 2),
            ("q=Red+Shoes&stock=1", 1),
            ("q=red+shoes&stock=true&utm_source=x", 1),
            ("q=hats&stock=no", 3),
            ("q=%zz", 1),
        ]);
        tally.finish().unwrap();
        let (name, class, counting) = tally.classes().next().unwrap();
        assert_eq!((name, class.requests, class.logged_bytes()), ("search", 12, Some(100)));
        assert_eq!((counting.spellings.count(), counting.keys.count(), tally.unknown), (5, 2, 1));
        let worst = counting.worst(9);
        assert_eq!(worst.len(), 1, "one spelling alone is no finding");
        assert_eq!((worst[0].key.as_str(), worst[0].count), ("q=red%20shoes&stock=true", 9));
        let group = &worst[0].with;
        assert_eq!(group.spellings.count(), 4);
        let differing: Vec<_> = group.differences().collect();
        let expected = [
            (Difference::Order, 1),
            (Difference::Case, 1),
            (Difference::Boolean, 1),
            (Difference::Ignored, 1),
        ];
        assert_eq!(differing, expected);
        assert_eq!(group.examples[0].0, "q=red+shoes&stock=true");
    }

    #[test]
    fn of_more_spellings_than_are_kept_those_compared_stand_for_the_rest() {
        let mut tally = Tally::new(None, Wishes::default(), 100);
        for n in 0..4_000 {
            let order = if n % 2 == 0 { format!("q=x&utm_id={n}") } else { format!("utm_id={n}&Q=x") };
            tally.note("search", &order, 1, None).unwrap();
        }
        tally.finish().unwrap();
        let (_, _, counting) = tally.classes().next().unwrap();
        let group = &counting.worst(1)[0].with;
        assert!(!group.spellings.is_exact() && group.compared < 1_000, "{}", group.compared);
        let differences: BTreeMap<Difference, u64> = group.differences().collect();
        let (ignored, case) = (differences[&Difference::Ignored], differences[&Difference::Case]);
        assert!((2_800..5_600).contains(&ignored), "all but the first: {ignored}");
        assert!((1_100..3_200).contains(&case), "half of them: {case}");
    }

    #[test]
    fn what_comes_after_the_form_was_learned_is_counted_by_it() {
        let mut tally = Tally::new(None, Wishes::default(), 100);
        for n in 0..LEARNED_KEYS + 10 {
            tally.note("page", &format!("{:03}", n % 7), 1, None).unwrap();
            tally.note("page", &(n % 7).to_string(), 1, None).unwrap();
        }
        tally.finish().unwrap();
        let (_, class, counting) = tally.classes().next().unwrap();
        assert_eq!(class.requests as usize, 2 * (LEARNED_KEYS + 10));
        assert_eq!((counting.spellings.count(), counting.keys.count()), (14, 7));
        assert_eq!(class.logged_bytes(), None);
    }

    proptest! {
        #[test]
        fn there_are_never_more_keys_than_spellings_and_no_request_is_lost(
            keys in prop::collection::vec("[a-cA-C]=[01]{1,2}(&[a-c]=x)?|[0-9]{1,3}|%.", 1..200),
        ) {
            let lines: Vec<(&str, u64)> = keys.iter().map(|key| (key.as_str(), 1)).collect();
            let mut tally = tally(&lines);
            let mut requests = 0;
            tally.finish().unwrap();
            for (_, class, counting) in tally.classes() {
                prop_assert!(counting.keys.count() <= counting.spellings.count());
                prop_assert!(counting.spellings.count() <= class.requests);
                requests += class.requests;
            }
            prop_assert_eq!(requests + tally.unknown, keys.len() as u64);
        }
    }
}

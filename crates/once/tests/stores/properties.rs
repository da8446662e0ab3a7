//! Any sequence of claims, steps, take-overs and reaping ends as a few lines of model say.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use once::{
    Claim, Completer, Held, LookUp, Once, OnceError, Options, Point, Resume, Resumed, Step, StoredResponse,
    store::{Owned as _, Store},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::bed::{Bed, LONG, answer, both, change, claim, finish, pass, request};

const KEYS: u32 = 3;
const CASES: u32 = 24;
const POINTS: [Point; 3] = [Point::new("ONE"), Point::new("TWO"), Point::new("THREE")];

both! { any_sequence_ends_as_the_model_says }

#[derive(Clone, Debug)]
enum Act {
    Claim { key: u32, body: bool },
    LookUp { key: u32, body: bool },
    Advance { held: usize, to: usize },
    Finish { held: usize },
    Pass,
    Complete,
    Reap,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        5 => (0..KEYS, prop::bool::weighted(0.9)).prop_map(|(key, body)| Act::Claim { key, body }),
        1 => (0..KEYS, prop::bool::weighted(0.9)).prop_map(|(key, body)| Act::LookUp { key, body }),
        4 => (any::<usize>(), 0..POINTS.len()).prop_map(|(held, to)| Act::Advance { held, to }),
        2 => any::<usize>().prop_map(|held| Act::Finish { held }),
        2 => Just(Act::Pass),
        1 => Just(Act::Complete),
        1 => Just(Act::Reap),
    ]
}

/// What is known of a key.
#[derive(Clone, Debug)]
struct Row {
    id: i64,
    body: bool,
    fence: i64,
    point: Point,
    lapsed: bool,
    finished: Option<(StoredResponse, bool)>,
}

#[derive(Default)]
struct Model {
    rows: BTreeMap<u32, Row>,
    /// Rights that were ever given, good or not.
    held: Vec<(u32, Held)>,
}

impl Model {
    /// Whether a right is good for a step.
    fn good(&self, key: u32, held: &Held) -> bool {
        self.rows.get(&key).is_some_and(|row| {
            row.id == held.id().0
                && row.finished.is_none()
                && row.fence == held.fence()
                && row.point == *held.point()
        })
    }
}

fn asked(key: u32, body: bool) -> once::Request {
    request("ann", key, if body { "a" } else { "b" })
}

/// Keeps the keys that it is given, and puts them aside.
struct Keeps(Arc<Mutex<Vec<Held>>>);

impl<S: Store> Resume<S> for Keeps {
    async fn resume(
        &self,
        _: &Once<S>,
        held: Held,
    ) -> Result<Resumed, Box<dyn std::error::Error + Send + Sync>> {
        self.0.lock().unwrap().push(held);
        Ok(Resumed::Later(Some(LONG / 2)))
    }
}

async fn any_sequence_ends_as_the_model_says<B: Bed>(bed: Arc<B>) {
    let once = Once::new(bed.store(), Options::new().lease(LONG / 2).retention(LONG / 2));
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let mut runner =
            TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        let acts = prop::collection::vec(act(), 1..40);
        runner.run(&acts, |acts| runtime.block_on(check(&once, acts))).unwrap();
    });
}

async fn check<S: Store>(once: &Once<S>, acts: Vec<Act>) -> Result<(), TestCaseError> {
    change(once.store(), "DELETE FROM once_keys", &[]).await;
    let mut model = Model::default();
    for (number, act) in acts.into_iter().enumerate() {
        match act {
            Act::Claim { key, body } => check_claim(once, &mut model, key, body).await?,
            Act::LookUp { key, body } => {
                let seen = once.look_up(&asked(key, body)).await.unwrap();
                let expected = match model.rows.get(&key) {
                    None => matches!(seen, LookUp::New),
                    Some(row) if row.body != body => matches!(seen, LookUp::Mismatch),
                    Some(Row { finished: Some((response, _)), .. }) => {
                        seen == LookUp::Replay(response.clone())
                    }
                    Some(Row { lapsed: true, .. }) => matches!(seen, LookUp::Lapsed),
                    Some(_) => matches!(seen, LookUp::InFlight { .. }),
                };
                prop_assert!(expected, "{seen:?} of {:?}", model.rows.get(&key));
            }
            Act::Advance { held, to } => {
                let Some((key, held)) = pick(&model, held) else { continue };
                let tx = once.store().begin().await.unwrap();
                let stepped = once.advance(&tx, &held, Step::to(POINTS[to].clone())).await;
                prop_assert_eq!(stepped.is_ok(), model.good(key, &held), "{:?} with {:?}", stepped, held);
                match stepped {
                    Ok(next) => {
                        tx.commit().await.unwrap();
                        let row = model.rows.get_mut(&key).unwrap();
                        (row.point, row.lapsed) = (next.point().clone(), false);
                        model.held.push((key, next));
                    }
                    Err(error) => {
                        let discarded = matches!(error, OnceError::Discarded { .. });
                        prop_assert!(discarded, "{error}");
                    }
                }
            }
            Act::Finish { held } => {
                let Some((key, held)) = pick(&model, held) else { continue };
                let text = number.to_string();
                let finished = finish(once, &held, &text).await;
                prop_assert_eq!(finished.is_ok(), model.good(key, &held), "{:?} with {:?}", finished, held);
                if finished.is_ok() {
                    model.rows.get_mut(&key).unwrap().finished = Some((answer(&text), false));
                }
            }
            Act::Pass => {
                pass(once.store(), LONG).await;
                for row in model.rows.values_mut() {
                    row.lapsed = true;
                    if let Some((_, old)) = &mut row.finished {
                        *old = true;
                    }
                }
            }
            Act::Complete => {
                let kept = Arc::default();
                let report = Completer::new(once.clone(), Keeps(Arc::clone(&kept))).run_once().await.unwrap();
                let mut taken = 0;
                for (key, row) in &mut model.rows {
                    if row.finished.is_none() && row.lapsed {
                        taken += 1;
                        (row.fence, row.lapsed) = (row.fence + 1, false);
                        let held = kept.lock().unwrap().iter().find(|held| held.id().0 == row.id).cloned();
                        prop_assert_eq!(held.as_ref().map(Held::fence), Some(row.fence));
                        model.held.push((*key, held.unwrap()));
                    }
                }
                prop_assert_eq!(report.taken, taken);
            }
            Act::Reap => {
                let before = model.rows.len();
                model.rows.retain(|_, row| !matches!(row.finished, Some((_, true))));
                prop_assert_eq!(once.reap(100).await.unwrap(), (before - model.rows.len()) as u64);
            }
        }
    }
    Ok(())
}

fn pick(model: &Model, index: usize) -> Option<(u32, Held)> {
    (!model.held.is_empty()).then(|| model.held[index % model.held.len()].clone())
}

async fn check_claim<S: Store>(
    once: &Once<S>,
    model: &mut Model,
    key: u32,
    body: bool,
) -> Result<(), TestCaseError> {
    let claimed = claim(once, &asked(key, body)).await;
    match (model.rows.get_mut(&key), claimed) {
        (None, Claim::Granted(held)) => {
            prop_assert_eq!((held.fence(), held.point()), (1, &Point::STARTED));
            let row =
                Row { id: held.id().0, body, fence: 1, point: Point::STARTED, lapsed: false, finished: None };
            model.rows.insert(key, row);
            model.held.push((key, held));
        }
        (Some(row), Claim::Mismatch) => prop_assert_ne!(row.body, body),
        (Some(row), Claim::Replay(response)) => {
            prop_assert_eq!(row.body, body);
            prop_assert_eq!(row.finished.as_ref().map(|(kept, _)| kept), Some(&response));
        }
        (Some(row), Claim::InFlight { retry_after, .. }) => {
            prop_assert!(row.body == body && !row.lapsed && row.finished.is_none());
            prop_assert!(retry_after >= Duration::from_secs(1));
        }
        (Some(row), Claim::Resumed(held)) => {
            prop_assert!(row.body == body && row.lapsed && row.finished.is_none());
            (row.fence, row.lapsed) = (row.fence + 1, false);
            prop_assert_eq!((held.id().0, held.fence(), held.point()), (row.id, row.fence, &row.point));
            model.held.push((key, held));
        }
        (row, claimed) => prop_assert!(false, "{claimed:?} of {row:?}"),
    }
    Ok(())
}

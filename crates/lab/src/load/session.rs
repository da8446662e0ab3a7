//! Sessions over HTTP: the token of each answer goes with the next question, to whichever node.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use trueup_core::env::Nanos;

use super::{
    SharedLog, Stop,
    answer::Said,
    http::{Answer, Http},
    reader::{READ_PATIENCE, RETRY_PAUSE},
    zipf::Zipf,
};
use crate::{
    history::{Object, Read, ServedBy},
    world::{LabError, World, schema::Row},
};

/// Reads of one session.
const READS_OF_A_SESSION: u32 = 500;
/// Pause between two questions of one session.
const PAUSE: Duration = Duration::from_millis(4);
/// Of a session's objects, so many of the most popular: it must see the same one again.
const POPULAR: usize = 40;
/// Sessions of different readers have different numbers.
const SESSIONS_OF_A_READER: u32 = 1 << 20;

/// Somebody who begins one session after the other.
pub(super) struct SessionReader {
    world: Arc<World>,
    log: Arc<SharedLog>,
    session: u32,
    reads: u32,
    token: Option<String>,
    objects: Zipf<Object>,
    dice: StdRng,
    connections: Vec<Option<Http>>,
}

impl SessionReader {
    pub(super) fn new(world: &Arc<World>, log: &Arc<SharedLog>, number: u32, seed: u64) -> Self {
        let popular = world.popularity.iter().copied().take(POPULAR).collect();
        Self {
            world: Arc::clone(world),
            log: Arc::clone(log),
            session: number * SESSIONS_OF_A_READER,
            reads: 0,
            token: None,
            objects: Zipf::ordered(popular),
            dice: StdRng::seed_from_u64(seed),
            connections: world.nodes.iter().map(|_| None).collect(),
        }
    }

    pub(super) async fn run(mut self, stop: Stop) {
        while !stop.is_told() {
            tokio::time::sleep(PAUSE).await;
            let node = self.dice.random_range(0..self.connections.len());
            let turn = tokio::time::timeout(READ_PATIENCE, self.turn(node)).await;
            if !matches!(turn, Ok(Ok(()))) {
                self.connections[node] = None;
                let end = self.world.book.clock.now();
                self.log.fail(end, 1, node);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn turn(&mut self, node: usize) -> Result<(), LabError> {
        if self.reads >= READS_OF_A_SESSION {
            (self.session, self.reads, self.token) = (self.session + 1, 0, None);
        }
        let object = self.objects.draw(&mut self.dice);
        let row = self.world.book.layout.row(object, self.dice.random());
        let clock = self.world.book.clock.clone();
        let start = clock.now();
        let slot = &mut self.connections[node];
        let http = match slot {
            Some(http) => http,
            None => slot.insert(Http::connect(self.world.nodes[node].http).await?),
        };
        let target = format!("/v1/{}/{}", row.class, row.id);
        let answer = http.get(&target, self.token.as_deref()).await?;
        let end = clock.now();
        let Some((said, served_by)) = understand(row, &answer) else {
            self.log.fail(end, 1, node);
            return Ok(());
        };
        self.token = answer.token.or(self.token.take());
        self.reads += 1;
        let bound = (served_by != ServedBy::Stale).then_some(self.world.max_staleness);
        self.log.add(vec![Read {
            object,
            seen: said.seen,
            start,
            end,
            bound,
            covers: Nanos::ZERO,
            session: Some(self.session),
            served_by,
            node: node as u8,
        }]);
        Ok(())
    }
}

/// What an answer about `row` says; none where it is an error.
pub(super) fn understand(row: Row, answer: &Answer) -> Option<(Said, ServedBy)> {
    let said = match answer.status {
        200 => Said::of_json(row, &answer.body),
        // An unknown path is a 404 too, and shows no evidence.
        404 if !answer.cache_status.is_empty() => Said::ABSENT,
        _ => return None,
    };
    let status = &answer.cache_status;
    let served_by = if status.contains("detail=stale") {
        ServedBy::Stale
    } else if status.contains("detail=l2") {
        ServedBy::L2
    } else if status.contains("; hit") {
        ServedBy::L1
    } else {
        ServedBy::Source
    };
    Some((said, served_by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Seen;

    #[test]
    fn absence_needs_evidence() {
        let row = Row { class: "account", id: 1, object: 0 };
        let answer = |status, cache_status: &str, body: &str| Answer {
            status,
            token: None,
            cache_status: cache_status.to_owned(),
            body: body.as_bytes().to_vec(),
        };
        let absent = understand(row, &answer(404, "trueup; hit", "{}"));
        assert_eq!(absent, Some((Said::ABSENT, ServedBy::L1)));
        assert_eq!(understand(row, &answer(404, "", "{}")), None);
        assert_eq!(understand(row, &answer(503, "trueup; hit", "{}")), None);
        let json = r#"{"id":1,"balance":5,"version":2}"#;
        let (said, served_by) = understand(row, &answer(200, "trueup; fwd=miss; detail=cold", json)).unwrap();
        assert_eq!((said.seen, served_by), (Seen::Version(2), ServedBy::Source));
    }
}

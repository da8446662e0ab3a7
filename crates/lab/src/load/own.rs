//! Programs that know of a write of their own (a token) and read some moments after it was acknowledged: by then the feed
//! should have come that far, so that memory may answer.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use trueup_core::env::Nanos;

use super::{
    SharedLog, Stop,
    http::Http,
    reader::{READ_PATIENCE, RETRY_PAUSE},
    session::understand,
    zipf::Zipf,
};
use crate::{
    history::{Object, Read, ServedBy},
    world::{LabError, World},
};

/// How old a token is when it is used, in milliseconds, counted from when its reader had it.
const AGE_MS: [u64; 2] = [20, 60];
/// Of ten reads, so many are of an object that was just written.
const RECENT_OF_TEN: u32 = 5;

/// One such program.
pub(super) struct OwnReader {
    world: Arc<World>,
    log: Arc<SharedLog>,
    objects: Zipf<Object>,
    dice: StdRng,
    givers: Vec<Option<MultiplexedConnection>>,
    readers: Vec<Option<Http>>,
}

impl OwnReader {
    pub(super) fn new(world: &Arc<World>, log: &Arc<SharedLog>, seed: u64) -> Self {
        Self {
            world: Arc::clone(world),
            log: Arc::clone(log),
            objects: Zipf::ordered(world.popularity.clone()),
            dice: StdRng::seed_from_u64(seed),
            givers: world.nodes.iter().map(|_| None).collect(),
            readers: world.nodes.iter().map(|_| None).collect(),
        }
    }

    pub(super) async fn run(mut self, stop: Stop) {
        while !stop.is_told() {
            let giver = self.dice.random_range(0..self.givers.len());
            // Recorded by its writer as acknowledged before this, so the token stands for it.
            let covers = self.world.book.clock.now();
            let token = tokio::time::timeout(READ_PATIENCE, self.token(giver)).await;
            let Ok(Ok(token)) = token else {
                self.givers[giver] = None;
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            };
            let age = Duration::from_millis(self.dice.random_range(AGE_MS[0]..=AGE_MS[1]));
            tokio::time::sleep(age).await;
            let node = self.dice.random_range(0..self.readers.len());
            let turn = tokio::time::timeout(READ_PATIENCE, self.turn(node, &token, covers)).await;
            if !matches!(turn, Ok(Ok(()))) {
                self.readers[node] = None;
                self.log.fail(self.world.book.clock.now(), 1, node);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn token(&mut self, node: usize) -> Result<String, LabError> {
        let slot = &mut self.givers[node];
        let connection = match slot {
            Some(connection) => connection,
            None => {
                let client = redis::Client::open(format!("redis://{}", self.world.nodes[node].resp))?;
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(READ_PATIENCE))
                    .set_response_timeout(Some(READ_PATIENCE));
                slot.insert(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
        };
        Ok(redis::cmd("TRUEUP.TOKEN").query_async::<String>(connection).await?)
    }

    fn object(&mut self) -> Object {
        if self.dice.random_ratio(RECENT_OF_TEN, 10) {
            let lot = self.dice.random_range(0..usize::MAX);
            return self.world.book.recent(lot);
        }
        self.objects.draw(&mut self.dice)
    }

    async fn turn(&mut self, node: usize, token: &str, covers: Nanos) -> Result<(), LabError> {
        let object = self.object();
        let row = self.world.book.layout.row(object, self.dice.random());
        let clock = self.world.book.clock.clone();
        let slot = &mut self.readers[node];
        let http = match slot {
            Some(http) => http,
            None => slot.insert(Http::connect(self.world.nodes[node].http).await?),
        };
        let start = clock.now();
        let answer = http.get(&format!("/v1/{}/{}", row.class, row.id), Some(token)).await?;
        let end = clock.now();
        let Some((said, served_by)) = understand(row, &answer) else {
            self.log.fail(end, 1, node);
            return Ok(());
        };
        let read = Read {
            object,
            seen: said.seen,
            start,
            end,
            bound: (served_by != ServedBy::Stale).then_some(self.world.max_staleness),
            covers,
            session: None,
            served_by,
            node: node as u8,
        };
        // The reader's demand, not the state of the cache, sent the request on (RFC 9211).
        self.log.add_aged(read, answer.cache_status.contains("fwd=request"));
        Ok(())
    }
}

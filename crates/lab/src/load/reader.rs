//! Readers over RESP: batches to a node that the dice choose, some with a tighter bound, some with a token, some as one
//! state.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use redis::{AsyncConnectionConfig, Value, aio::ConnectionLike as _, aio::MultiplexedConnection};
use trueup_core::env::Nanos;

use super::{SharedLog, Stop, answer::Evidence, zipf::Zipf};
use crate::{
    history::{Object, Read, Together},
    world::{LabError, World, schema::Row},
};

/// Reads of one batch, where it need not be larger.
const BATCH_MIN: u32 = 8;
/// Most reads of one batch.
const BATCH_MAX: u32 = 128;
/// Batches a second of one reader, where there are reads enough: more of them cost more than they show.
const TURNS_PER_S: u32 = 60;
/// Of a batch with a token, so many reads carry it: each of them may cost the database a query.
const TOKENS_OF_A_BATCH: usize = 8;
/// Pairs that are read as one state.
const PAIRS_TOGETHER: usize = 3;
/// Of ten batches, so many ask for a token first.
const TOKENS_OF_TEN: u32 = 2;
/// Of ten batches, so many read several rows as one state.
const TOGETHER_OF_TEN: u32 = 2;
/// Of ten batches, so many demand more than the class promises.
const TIGHTER_OF_TEN: u32 = 2;
/// Of ten reads with a token, so many are of an object that was just written.
const RECENT_OF_TEN: u32 = 5;
/// How long a node may take to answer.
pub(super) const READ_PATIENCE: Duration = Duration::from_secs(1);
/// What a reader that was held up makes up for.
const LATE_MAX: Duration = Duration::from_millis(200);
/// Pause after a failure.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How much one reader reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Reads of a batch.
    batch: u32,
    /// From the beginning of one batch to that of the next.
    every: Duration,
}

impl Pace {
    /// The pace of each of `readers` that read `rate` rows a second together.
    pub(super) fn new(rate: u32, readers: u32) -> Self {
        let rate = rate.max(1);
        let batch = (rate / (readers * TURNS_PER_S)).clamp(BATCH_MIN, BATCH_MAX);
        // Some turns read a few pairs instead.
        let pairs = 2 * PAIRS_TOGETHER as u32;
        let of_ten = (10 - TOGETHER_OF_TEN) * batch + TOGETHER_OF_TEN * pairs;
        Self { batch, every: Duration::from_secs(1) * readers * of_ten / (10 * rate) }
    }
}

/// What a batch demands.
#[derive(Clone, Debug, Default)]
struct Demand {
    max_staleness: Option<Duration>,
    token: Option<String>,
    /// Before this the token was not asked for.
    covers: Nanos,
}

/// One reader.
pub(super) struct Reader {
    world: Arc<World>,
    log: Arc<SharedLog>,
    objects: Zipf<Object>,
    dice: StdRng,
    pace: Pace,
    connections: Vec<Option<MultiplexedConnection>>,
}

impl Reader {
    pub(super) fn new(world: &Arc<World>, log: &Arc<SharedLog>, pace: Pace, seed: u64) -> Self {
        Self {
            world: Arc::clone(world),
            log: Arc::clone(log),
            objects: Zipf::ordered(world.popularity.clone()),
            dice: StdRng::seed_from_u64(seed),
            pace,
            connections: world.nodes.iter().map(|_| None).collect(),
        }
    }

    pub(super) async fn run(mut self, stop: Stop) {
        let clock = self.world.book.clock.clone();
        let mut due = clock.now();
        while !stop.is_told() {
            // Whoever is late goes on at once, but does not make up for what a fault has cost.
            due = due.after(self.pace.every.mul_f64(self.dice.random_range(0.5..1.5)));
            let now = clock.now();
            if now.since(due) > LATE_MAX {
                due = now;
            }
            tokio::time::sleep(due.since(now)).await;
            let node = self.dice.random_range(0..self.connections.len());
            if self.turn(node).await.is_err() {
                self.connections[node] = None;
                self.log.fail(clock.now(), self.pace.batch, node);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    async fn turn(&mut self, node: usize) -> Result<(), LabError> {
        let lot = self.dice.random_range(0..10);
        let mut demand = Demand::default();
        if lot < TOKENS_OF_TEN {
            // From any node, and used at any other.
            let giver = self.dice.random_range(0..self.connections.len());
            demand = self.token(giver).await.unwrap_or_default();
        } else if lot < TOKENS_OF_TEN + TIGHTER_OF_TEN {
            let share = self.dice.random_range(0.2..1.0);
            demand.max_staleness = Some(self.world.max_staleness.mul_f64(share));
        }
        if self.dice.random_ratio(TOGETHER_OF_TEN, 10) {
            self.read_together(node, &demand).await
        } else {
            self.read_batch(node, &demand).await
        }
    }

    async fn connection(&mut self, node: usize) -> Result<&mut MultiplexedConnection, LabError> {
        let slot = &mut self.connections[node];
        if slot.is_none() {
            let client = redis::Client::open(format!("redis://{}", self.world.nodes[node].resp))?;
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(READ_PATIENCE))
                .set_response_timeout(Some(READ_PATIENCE));
            *slot = Some(client.get_multiplexed_async_connection_with_config(&config).await?);
        }
        slot.as_mut().ok_or_else(|| LabError::Unreachable("no connection".to_owned()))
    }

    /// A token for now; a demand without one where the node gives none.
    async fn token(&mut self, node: usize) -> Option<Demand> {
        let covers = self.world.book.clock.now();
        let connection = self.connection(node).await.ok()?;
        let token = redis::cmd("TRUEUP.TOKEN").query_async::<String>(connection).await;
        if token.is_err() {
            self.connections[node] = None;
        }
        Some(Demand { token: Some(token.ok()?), covers, max_staleness: None })
    }

    fn object(&mut self, demand: &Demand) -> Object {
        if demand.token.is_some() && self.dice.random_ratio(RECENT_OF_TEN, 10) {
            let lot = self.dice.random_range(0..usize::MAX);
            return self.world.book.recent(lot);
        }
        self.objects.draw(&mut self.dice)
    }

    async fn read_batch(&mut self, node: usize, demand: &Demand) -> Result<(), LabError> {
        let layout = self.world.book.layout;
        let plain = Demand { max_staleness: demand.max_staleness, ..Demand::default() };
        let of = |index: usize| if index < TOKENS_OF_A_BATCH { demand } else { &plain };
        let rows: Vec<Row> = (0..self.pace.batch as usize)
            .map(|index| {
                let object = self.object(of(index));
                layout.row(object, self.dice.random())
            })
            .collect();
        let mut pipe = redis::pipe();
        for (index, row) in rows.iter().enumerate() {
            pipe.cmd("TRUEUP.GET").arg(row.class).arg(row.id);
            demands(&mut pipe, of(index));
        }
        let clock = self.world.book.clock.clone();
        let start = clock.now();
        let answers = self.connection(node).await?.req_packed_commands(&pipe, 0, rows.len()).await?;
        let end = clock.now();
        let mut reads = Vec::with_capacity(rows.len());
        for (index, (row, answer)) in rows.iter().zip(&answers).enumerate() {
            match Evidence::of_resp(*row, answer) {
                Some(evidence) => reads.push(self.read(*row, &evidence, of(index), (start, end), node)),
                None => self.log.fail(end, 1, node),
            }
        }
        self.log.add(reads);
        Ok(())
    }

    /// Both accounts of some pairs, as one state.
    async fn read_together(&mut self, node: usize, demand: &Demand) -> Result<(), LabError> {
        let layout = self.world.book.layout;
        let mut pairs: Vec<Object> =
            (0..PAIRS_TOGETHER).map(|_| self.object(demand) % layout.pairs).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let rows: Vec<Row> = pairs.iter().flat_map(|pair| layout.accounts(*pair)).collect();
        let mut pipe = redis::pipe();
        pipe.cmd("TRUEUP.MGET").arg("account").arg(rows.len());
        for row in &rows {
            pipe.arg(row.id);
        }
        demands(&mut pipe, demand);
        pipe.arg("CONSISTENT");
        let clock = self.world.book.clock.clone();
        let start = clock.now();
        let answers = self.connection(node).await?.req_packed_commands(&pipe, 0, 1).await?;
        let end = clock.now();
        let failed = |log: &SharedLog| log.fail(end, rows.len() as u32, node);
        let Some(Value::Array(answers)) = answers.first() else {
            failed(&self.log);
            return Ok(());
        };
        let evidence: Option<Vec<Evidence>> =
            rows.iter().zip(answers).map(|(row, answer)| Evidence::of_resp(*row, answer)).collect();
        let Some(evidence) = evidence.filter(|evidence| evidence.len() == rows.len()) else {
            failed(&self.log);
            return Ok(());
        };
        let read = |(row, evidence): (&Row, &Evidence)| self.read(*row, evidence, demand, (start, end), node);
        let reads = rows.iter().zip(&evidence).map(read).collect();
        let balance = |evidence: &Evidence| evidence.said.balance.unwrap_or(0);
        let sum = |(pair, both): (&Object, &[Evidence])| (*pair, both.iter().map(balance).sum());
        let sums = pairs.iter().zip(evidence.chunks(2)).map(sum).collect();
        self.log.add_together(Together { reads, sums });
        Ok(())
    }

    fn read(
        &self,
        row: Row,
        evidence: &Evidence,
        demand: &Demand,
        (start, end): (Nanos, Nanos),
        node: usize,
    ) -> Read {
        let promised = self.world.max_staleness.min(demand.max_staleness.unwrap_or(Duration::MAX));
        Read {
            object: row.object,
            seen: evidence.said.seen,
            start,
            end,
            bound: evidence.bound(promised),
            covers: demand.covers,
            session: None,
            served_by: evidence.served_by,
            node: node as u8,
        }
    }
}

fn demands(pipe: &mut redis::Pipeline, demand: &Demand) {
    if let Some(token) = &demand.token {
        pipe.arg("TOKEN").arg(token);
    }
    if let Some(bound) = demand.max_staleness {
        pipe.arg("MAXSTALE").arg(bound.as_millis().max(1) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_reads_come_in_larger_batches_and_not_more_often() {
        let (few, many) = (Pace::new(2_000, 4), Pace::new(20_000, 4));
        assert_eq!((few.batch, many.batch), (8, 83));
        let turns = |pace: Pace| 1.0 / pace.every.as_secs_f64();
        assert!((60.0..80.0).contains(&turns(many)), "{many:?}");
        // Four readers, eight of ten turns a batch, two of ten three pairs.
        let rate = |pace: Pace| 4.0 * turns(pace) * (0.8 * f64::from(pace.batch) + 0.2 * 6.0);
        assert!((rate(few) - 2_000.0).abs() < 1.0 && (rate(many) - 20_000.0).abs() < 1.0);
    }
}

//! The wrong way, as it is written again and again: look into a map, else ask the database and keep the row for a while.
//!
//! It is here so that the judge can be seen to find what is wrong: each node has a map of its own, tokens are ignored, and
//! rows that belong together are looked up one by one.
//!
//! The same reader without a map asks the database each time. Of that nothing may be found: it shows that what the lab
//! takes for the truth is true, whatever is done to the database.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use trueup_core::env::Nanos;

use super::{SharedLog, Stop, answer::Said, zipf::Zipf};
use crate::{
    history::{Object, Read, Seen, ServedBy, Together},
    world::{Cells, LabError, Sql, World, schema::Row},
};

/// How long a row is kept: "ten seconds can't hurt".
const LIFE: Duration = Duration::from_secs(10);
/// How long the database may take; beyond that nothing was read.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two reads of one reader.
const PAUSE: Duration = Duration::from_millis(2);
/// Of ten turns, so many read both accounts of a pair.
const PAIRS_OF_TEN: u32 = 3;
/// Of ten reads, so many come with a token.
const TOKENS_OF_TEN: u32 = 2;
/// Of ten reads, so many belong to a session.
const SESSIONS_OF_TEN: u32 = 5;

type Map = Mutex<HashMap<(&'static str, u32), (Said, Nanos)>>;

/// The map of each node.
#[derive(Debug)]
pub(super) struct Caches(Vec<Map>);

impl Caches {
    pub(super) fn new(nodes: usize) -> Arc<Self> {
        Arc::new(Self((0..nodes).map(|_| Map::default()).collect()))
    }
}

/// Where a reader looks first.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// Into maps that nobody keeps true.
    Maps(Arc<Caches>),
    /// Nowhere: it asks the database.
    Nowhere,
}

/// One reader.
pub(super) struct NaiveReader {
    world: Arc<World>,
    log: Arc<SharedLog>,
    look: Look,
    session: u32,
    objects: Zipf<Object>,
    dice: StdRng,
    sql: Option<Box<dyn Sql>>,
    era: u64,
}

impl NaiveReader {
    pub(super) fn new(world: &Arc<World>, log: &Arc<SharedLog>, look: Look, session: u32, seed: u64) -> Self {
        Self {
            world: Arc::clone(world),
            log: Arc::clone(log),
            look,
            session,
            objects: Zipf::ordered(world.popularity.clone()),
            dice: StdRng::seed_from_u64(seed),
            sql: None,
            era: 0,
        }
    }

    pub(super) async fn run(mut self, stop: Stop) {
        while !stop.is_told() {
            tokio::time::sleep(PAUSE).await;
            if !matches!(tokio::time::timeout(PATIENCE, self.turn()).await, Ok(Ok(()))) {
                self.sql = None;
                self.log.fail(self.world.book.clock.now(), 1, 0);
            }
        }
    }

    async fn turn(&mut self) -> Result<(), LabError> {
        let (layout, object) = (self.world.book.layout, self.objects.draw(&mut self.dice));
        let node = match &self.look {
            Look::Maps(caches) => self.dice.random_range(0..caches.0.len()),
            Look::Nowhere => 0,
        };
        if self.dice.random_ratio(PAIRS_OF_TEN, 10) {
            return self.pair(node, object % layout.pairs).await;
        }
        let row = layout.row(object, self.dice.random());
        let (start, said) = (self.world.book.clock.now(), self.look_up(node, row).await?);
        let mut read = self.read(row, said, start, node);
        if self.dice.random_ratio(TOKENS_OF_TEN, 10) {
            read.covers = start;
        } else if self.dice.random_ratio(SESSIONS_OF_TEN, 10) {
            read.session = Some(self.session);
        }
        self.log.add(vec![read]);
        Ok(())
    }

    async fn pair(&mut self, node: usize, pair: Object) -> Result<(), LabError> {
        let (start, rows) = (self.world.book.clock.now(), self.world.book.layout.accounts(pair));
        let said = match self.look {
            Look::Maps(_) => vec![self.look_up(node, rows[0]).await?, self.look_up(node, rows[1]).await?],
            // One statement, one state.
            Look::Nowhere => self.ask_both(rows).await?,
        };
        let sum = said.iter().map(|said| said.balance.unwrap_or(0)).sum();
        let reads = rows.iter().zip(said).map(|(row, said)| self.read(*row, said, start, node)).collect();
        self.log.add_together(Together { reads, sums: vec![(pair, sum)] });
        Ok(())
    }

    async fn look_up(&mut self, node: usize, row: Row) -> Result<Said, LabError> {
        let Look::Maps(caches) = self.look.clone() else { return self.ask(row).await };
        let now = self.world.book.clock.now();
        let kept = caches.0[node].lock().get(&(row.class, row.id)).copied();
        if let Some((said, _)) = kept.filter(|(_, since)| now.since(*since) < LIFE) {
            return Ok(said);
        }
        let said = self.ask(row).await?;
        caches.0[node].lock().insert((row.class, row.id), (said, now));
        Ok(said)
    }

    async fn ask(&mut self, row: Row) -> Result<Said, LabError> {
        let amount = if row.class == "account" { "balance" } else { "NULL" };
        let query = format!("SELECT version, {amount} FROM {} WHERE id = {}", row.class, row.id);
        Ok(self.rows(&query).await?.first().map_or(Said::ABSENT, said))
    }

    async fn ask_both(&mut self, [first, second]: [Row; 2]) -> Result<Vec<Said>, LabError> {
        let ids = format!("{}, {}", first.id, second.id);
        let query = format!("SELECT version, balance FROM account WHERE id IN ({ids}) ORDER BY id");
        let mut both: Vec<Said> = self.rows(&query).await?.iter().map(said).collect();
        both.resize(2, Said::ABSENT);
        Ok(both)
    }

    async fn rows(&mut self, query: &str) -> Result<Vec<Cells>, LabError> {
        let era = self.world.book.era();
        if self.sql.is_none() || self.era != era {
            self.sql = Some(self.world.source.address().connect().await?);
            self.era = era;
        }
        let Some(sql) = &mut self.sql else { return Err(LabError::Unreachable("no session".to_owned())) };
        sql.rows(query).await
    }

    fn read(&self, row: Row, said: Said, start: Nanos, node: usize) -> Read {
        Read {
            object: row.object,
            seen: said.seen,
            start,
            end: self.world.book.clock.now(),
            bound: Some(self.world.max_staleness),
            covers: Nanos::ZERO,
            session: None,
            served_by: match self.look {
                Look::Maps(_) => ServedBy::Naive,
                Look::Nowhere => ServedBy::Source,
            },
            node: node as u8,
        }
    }
}

fn said(cells: &Cells) -> Said {
    let number =
        |at: usize| cells.get(at).and_then(Option::as_deref).and_then(|text| text.parse::<i64>().ok());
    let seen = number(0).map_or(Seen::Foreign, |version| Seen::Version(version.unsigned_abs()));
    Said { seen, balance: number(1) }
}

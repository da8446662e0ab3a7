//! Writers: plain SQL, straight to the database. Each owns its objects, so that the order of their states is known.

use std::{sync::Arc, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use trueup_core::env::Nanos;

use super::{
    Stop,
    ops::{self, Op},
    zipf::Zipf,
};
use crate::{
    history::Object,
    world::{LabError, Sql, World},
};

/// How long a transaction may take before its outcome is called unknown.
const WRITE_PATIENCE: Duration = Duration::from_secs(3);
/// Pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// A transaction whose answer was lost.
struct Pending {
    op: Op,
    /// The versions known before it.
    versions: Vec<u64>,
    start: Nanos,
}

/// One writer.
pub(super) struct Writer {
    world: Arc<World>,
    name: String,
    objects: Zipf<Object>,
    items: Vec<Object>,
    dice: StdRng,
    pause: Duration,
    session: Option<(u64, Box<dyn Sql>)>,
    pending: Option<Pending>,
    era: u64,
}

impl Writer {
    /// Writer `number` of `count`: it owns each object whose number leaves that remainder.
    pub(super) fn new(world: &Arc<World>, number: u32, count: u32, pause: Duration, seed: u64) -> Self {
        let layout = world.book.layout;
        let own: Vec<Object> =
            world.popularity.iter().copied().filter(|object| object % count == number).collect();
        let items = own.iter().copied().filter(|object| layout.item_objects().contains(object)).collect();
        Self {
            world: Arc::clone(world),
            name: format!("writer {number}"),
            objects: Zipf::ordered(own),
            items,
            dice: StdRng::seed_from_u64(seed),
            pause,
            session: None,
            pending: None,
            era: 0,
        }
    }

    /// Writes until it is told to stop.
    pub(super) async fn run(mut self, stop: Stop) {
        while !stop.is_told() {
            let nap = self.pause.mul_f64(self.dice.random_range(0.5..1.5));
            tokio::time::sleep(nap).await;
            let world = Arc::clone(&self.world);
            let pass = world.gate.enter().await;
            self.notice_rewind();
            let outcome = self.turn().await;
            drop(pass);
            if outcome.is_err() {
                self.session = None;
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
        if let Some(pending) = self.pending.take() {
            self.give_up(&pending);
        }
    }

    /// After a rewind nobody can find out what became of a transaction of before.
    fn notice_rewind(&mut self) {
        let era = self.world.book.era();
        if era != self.era {
            self.era = era;
            self.session = None;
            if let Some(pending) = self.pending.take() {
                self.give_up(&pending);
            }
        }
    }

    fn give_up(&self, pending: &Pending) {
        self.world.book.may_have_happened(&pending.op.effects, &pending.versions, pending.start);
        self.world.gate.settled();
    }

    async fn turn(&mut self) -> Result<(), LabError> {
        if self.pending.is_some() { self.find_out().await } else { self.write().await }
    }

    async fn session(&mut self) -> Result<&mut Box<dyn Sql>, LabError> {
        let era = self.world.book.era();
        if self.session.as_ref().is_none_or(|(opened, _)| *opened != era) {
            let opened = within(self.world.source.address().connect()).await?;
            self.session = Some((era, opened));
        }
        match &mut self.session {
            Some((_, session)) => Ok(session),
            None => Err(LabError::Unreachable("no session".to_owned())),
        }
    }

    async fn write(&mut self) -> Result<(), LabError> {
        let book = Arc::clone(&self.world.book);
        let object = self.objects.draw(&mut self.dice);
        let op = ops::next(&book, object, &self.items, &self.name, &mut self.dice);
        let start = book.clock.now();
        if let Err(error) = self.session().await {
            // Nothing was sent.
            book.attempt(start, false);
            return Err(error);
        }
        let versions: Vec<u64> = op.effects.iter().map(|effect| book.version(effect.object)).collect();
        let sent = self.session().await?.transaction(&op.statements);
        match within(sent).await {
            Ok(numbers) => {
                book.attempt(start, true);
                let expected = versions.iter().map(|version| version + 1);
                if numbers.iter().map(|number| number.unsigned_abs()).ne(expected) {
                    let what = format!("{} is not alone: versions {numbers:?} after {versions:?}", self.name);
                    self.world.trouble.report(what);
                }
                book.committed(&op.effects, start);
                Ok(())
            }
            Err(error) => {
                book.attempt(start, false);
                self.world.gate.unsettled();
                self.pending = Some(Pending { op, versions, start });
                Err(error)
            }
        }
    }

    /// Asks the database what became of the pending transaction.
    async fn find_out(&mut self) -> Result<(), LabError> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let asked = match (pending.op.effects.first(), self.session().await) {
            (Some(effect), Ok(session)) => within(session.version(effect.object)).await,
            (_, Err(error)) => Err(error),
            (None, _) => Ok(0),
        };
        let known = pending.versions.first().copied().unwrap_or(0);
        match asked {
            Ok(version) if version == known => {}
            Ok(_) => self.world.book.committed(&pending.op.effects, pending.start),
            Err(error) => {
                self.pending = Some(pending);
                return Err(error);
            }
        }
        self.world.gate.settled();
        Ok(())
    }
}

/// The outcome, or an error when it does not come in time.
async fn within<T>(work: impl Future<Output = Result<T, LabError>>) -> Result<T, LabError> {
    let late = || LabError::Unreachable(format!("no answer of the database within {WRITE_PATIENCE:?}"));
    tokio::time::timeout(WRITE_PATIENCE, work).await.map_err(|_| late())?
}

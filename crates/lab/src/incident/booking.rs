//! The few pages that everybody looks at have ended just before everybody comes.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use trueup::Class;
use trueup_core::env::Clock;

use super::{
    Figure, Outcome, Setup, Way, counted::loads, crowd::together, node::Node, series::Watch, shelf::Shelf,
    shop::Shop,
};
use crate::{
    load::{
        Keys,
        open::{Arrivals, Fate},
    },
    world::LabError,
};

/// Workshops that are announced: the hot set.
const WORKSHOPS: i64 = 8;
/// Looks at them on the days before, which tell that they are hot.
const LOOKS: usize = 24_000;
const VISITORS: usize = 200;
/// The life of an entry: a minute in the story.
const LIFE: Duration = Duration::from_millis(900);
/// Nobody looks for longer than that, while a few seats are booked.
const EVENING: Duration = Duration::from_millis(2_100);
const BOOKINGS: i64 = 5;
/// Those who come when the workshops are announced, and how long it takes them.
const RUSH: usize = 1_000;
const RUSH_WITHIN: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(50);
const SELECT: &str = "SELECT seats - booked FROM workshop WHERE id = ?1";

#[derive(Clone, Serialize, Deserialize)]
struct Workshop {
    seats: i64,
    booked: i64,
}

enum Cache {
    Naive(Shelf<i64>),
    Trueup { node: Node, workshops: Class<i64, Workshop>, proven: bool },
}

struct World {
    shop: Shop,
    cache: Cache,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let rows: Vec<String> = (1..=WORKSHOPS).map(|id| format!("({id}, 40, 0)")).collect();
    let schema = format!(
        "CREATE TABLE workshop (id BIGINT NOT NULL PRIMARY KEY, seats BIGINT NOT NULL, booked BIGINT NOT NULL); \
         INSERT INTO workshop VALUES {}",
        rows.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let cache = match way {
        Way::Naive => Cache::Naive(Shelf::open(&setup).await?),
        Way::Protected | Way::Unprotected => {
            let node = shop.trueup(&plan(way)).await?;
            let workshops = node.class("workshop")?;
            Cache::Trueup { node, workshops, proven: way == Way::Protected }
        }
    };
    let (world, clock) = (Arc::new(World { shop, cache }), Clock::system());
    let watched = Arc::clone(&world);
    let watch = Watch::start(&clock, STEP, move || watched.loads());
    let began = clock.now();
    world.days_before().await?;
    let loaded = world.loads();
    world.evening().await?;
    let (evening, announced) = (world.loads() - loaded, clock.now());
    let rush = setup.scaled(RUSH);
    let keys = Arc::new(Keys::zipf(WORKSHOPS, 0.8, setup.seed).take(rush));
    let per_second = rush as f64 / RUSH_WITHIN.as_secs_f64();
    let arrivals = Arrivals::new(setup.seed).at_rate(per_second, RUSH_WITHIN);
    let before = world.loads();
    let answers = arrivals
        .send(&clock, PATIENCE, |number| {
            let (world, id) = (Arc::clone(&world), keys[number % keys.len()]);
            async move { world.look(id).await.unwrap_or(Fate::Failed) }
        })
        .await;
    let asked = world.loads() - before;
    let series = watch.end("queries to the database", "in 50 ms").await;
    if let Cache::Trueup { node, .. } = &world.cache {
        node.shut_down().await;
    }
    let unanswered = answers.count(|fate| !fate.is_answered());
    Ok(Outcome::new(
        asked == 0 && unanswered == 0 && evening <= BOOKINGS.unsigned_abs() * 2,
        [
            Figure::count("requests within 25 ms of the announcement", answers.len()),
            Figure::count("queries to the database for them", asked),
            Figure::count("of them without an answer", unanswered),
            Figure::millis("99 % have it within", answers.quantile(0.99)),
            Figure::count("queries on the evening before, with 5 bookings and no reader", evening),
        ],
    )
    .over_time([series.mark(announced.since(began), "announced")]))
}

fn plan(way: Way) -> String {
    let life = LIFE.as_millis();
    match way {
        // Entries end with their life, and nothing else is known of them.
        Way::Unprotected => format!(
            "[class.workshop]\norigin = \"external\"\nkey = [\"id\"]\nscope = []\nlife = \"{life}ms\"\njitter = \"0%\"\nl2 = false\n\
             invalidation = {{ owner = \"nobody\", reason = \"the refresh is taken out\" }}\n"
        ),
        _ => format!(
            "[class.workshop]\ntable = \"workshop\"\nkey = [\"id\"]\nlife = \"{life}ms\"\n\
             refresh = \"background\"\nrefresh_ahead = \"200ms\"\nl2 = false\n"
        ),
    }
}

impl World {
    fn loads(&self) -> u64 {
        match &self.cache {
            Cache::Trueup { workshops, proven: true, .. } => loads(workshops),
            _ => self.shop.queries(),
        }
    }

    /// Everybody looks at all workshops again and again.
    async fn days_before(self: &Arc<Self>) -> Result<(), LabError> {
        let each = LOOKS / VISITORS;
        let visitors = together(VISITORS, |visitor| {
            let world = Arc::clone(self);
            async move {
                for look in 0..each {
                    world.look(1 + ((visitor + look) as i64) % WORKSHOPS).await?;
                }
                Ok(())
            }
        });
        visitors.await.map(drop)
    }

    /// Nobody looks; now and then a seat is booked.
    async fn evening(&self) -> Result<(), LabError> {
        let pause = EVENING / (BOOKINGS as u32 + 1);
        for booking in 0..BOOKINGS {
            tokio::time::sleep(pause).await;
            let (sql, id) = ("UPDATE workshop SET booked = booked + 1 WHERE id = ?1", 1 + booking % 3);
            self.shop.execute(sql, [id]).await?;
            if let Cache::Naive(shelf) = &self.cache {
                shelf.delete(&id.to_string()).await?;
            }
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    async fn look(&self, id: i64) -> Result<Fate, LabError> {
        match &self.cache {
            Cache::Naive(shelf) => {
                let key = id.to_string();
                if shelf.get(&key).await?.is_some() {
                    return Ok(Fate::Cached);
                }
                let free = self.free(id).await?;
                shelf.set(&key, free, LIFE).await?;
                Ok(Fate::Loaded)
            }
            Cache::Trueup { workshops, proven: true, .. } => Ok(Fate::of(&workshops.get(&id).await)),
            Cache::Trueup { workshops, .. } => {
                let load =
                    async || Ok::<_, LabError>(Some(Workshop { seats: self.free(id).await?, booked: 0 }));
                Ok(Fate::of(&Ok(workshops.get_with(&id, load).await?)))
            }
        }
    }

    async fn free(&self, id: i64) -> Result<i64, LabError> {
        Ok(self.shop.query(SELECT, [id]).await?.unwrap_or(0))
    }
}

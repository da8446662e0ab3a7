//! Ids that do not exist, each asked for once: no cache holds them, and every one reaches the database.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use trueup::ServedBy;
use trueup_core::env::Clock;

use super::{Figure, Outcome, Series, Setup, Way, series::Ticks, shelf::Shelf, shop::Shop};
use crate::world::LabError;

const ROWS: i64 = 5_000;
const STRANGERS: usize = 20_000;
/// Ids among those asked for that come to exist meanwhile.
const BORN: usize = 40;
/// Where each of them is paid for by a call over the network, a part shows it.
const PAID_STRANGERS: usize = 400;
const LIFE: Duration = Duration::from_secs(300);
/// They are counted together for so long.
const STEP: Duration = Duration::from_millis(100);
const WATCHED: &str = "strangers that reach the database";
const UNIT: &str = "in 100 ms";

#[derive(Clone, Serialize, Deserialize)]
struct Member {
    name: String,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let rows: Vec<String> = (1..=ROWS).map(|id| format!("({id}, 'user {id}')")).collect();
    let schema = format!(
        "CREATE TABLE member (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL); INSERT INTO member VALUES {}",
        rows.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let mut dice = StdRng::seed_from_u64(setup.seed);
    let mut stranger = || dice.random_range(ROWS + 1..i64::MAX);
    match way {
        Way::Naive => {
            let (shelf, asked) = (Shelf::<String>::open(&setup).await?, setup.scaled(PAID_STRANGERS));
            let reaching = Ticks::start(&Clock::system(), STEP);
            for _ in 0..asked {
                let id = stranger();
                if shelf.get(&id.to_string()).await?.is_none() {
                    let name = shop.query(SELECT, [id]).await?;
                    reaching.note(true);
                    // What is not there cannot be kept.
                    if let Some(name) = name {
                        shelf.set(&id.to_string(), name, LIFE).await?;
                    }
                }
            }
            let series = reaching.series(WATCHED, UNIT);
            Ok(outcome(asked as u64, shop.queries(), 0, series))
        }
        Way::Protected | Way::Unprotected => {
            let failed = |why: &dyn std::fmt::Display| LabError::failed("asking for a user", why);
            let filter = "bloom = { entries = 100_000, error = \"0.01%\" }\n";
            let plan = format!(
                "[class.member]\ntable = \"member\"\nkey = [\"id\"]\nmax_staleness = \"10s\"\n{}",
                if way == Way::Protected { filter } else { "" }
            );
            let node = shop.trueup(&plan).await?;
            let users = node.class::<i64, Member>("member")?;
            // Of a table that is read for the first time nothing is known: complete within moments.
            while way == Way::Protected
                && users.get(&stranger()).await.map_err(|why| failed(&why))?.receipt().served_by
                    != ServedBy::Filter
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let reaching = Ticks::start(&Clock::system(), STEP);
            let strangers =
                if way == Way::Unprotected && setup.full.is_some() { PAID_STRANGERS } else { STRANGERS };
            let (asked, mut reached, mut missed) = (setup.scaled(strangers), 0, 0);
            for number in 0..asked {
                let id = stranger();
                let answer = users.get(&id).await.map_err(|why| failed(&why))?;
                let reaches = answer.receipt().served_by == ServedBy::Source;
                reached += u64::from(reaches);
                reaching.note(reaches);
                if number % (asked / BORN).max(1) == 0 {
                    let insert = "INSERT INTO member VALUES (?1, 'born')";
                    let (_, token) = node.write(async |tx| tx.execute(insert, [id]).await).await?;
                    let found = users.read(&id).token(token).run().await.map_err(|why| failed(&why))?;
                    missed += u64::from(found.is_absent());
                }
            }
            let series = reaching.series(WATCHED, UNIT);
            node.shut_down().await;
            Ok(outcome(asked as u64, reached, missed, series))
        }
    }
}

const SELECT: &str = "SELECT name FROM member WHERE id = ?1";

fn outcome(asked: u64, reached: u64, missed: u64, series: Series) -> Outcome {
    Outcome::new(
        // 99.97 % of them, as the accounts have it.
        missed == 0 && reached * 10_000 <= asked * 3,
        [
            Figure::count("ids asked for that do not exist", asked),
            Figure::share("of them reached the database", reached, asked),
            Figure::count("new users called absent after their insert", missed),
        ],
    )
    .over_time([series])
}

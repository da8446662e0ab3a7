//! A user changes a profile, is sent to another machine, and sees the old one.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Figure, Outcome, Setup, Way, shop::Shop};
use crate::world::LabError;

const USERS: usize = 200;
/// The life of a machine's own entries.
const LIFE: Duration = Duration::from_secs(10);
const SELECT: &str = "SELECT nickname FROM member WHERE id = ?1";
const UPDATE: &str = "UPDATE member SET nickname = ?2 WHERE id = ?1";

#[derive(Clone, Serialize, Deserialize)]
struct Member {
    nickname: String,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let users = setup.scaled(USERS) as i64;
    let rows: Vec<String> = (0..users).map(|id| format!("({id}, 'old')")).collect();
    let schema = format!(
        "CREATE TABLE member (id BIGINT NOT NULL PRIMARY KEY, nickname TEXT NOT NULL); INSERT INTO member VALUES {}",
        rows.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let unseen = match way {
        Way::Naive => naive(&shop, users).await?,
        Way::Protected => through_trueup(&shop, users, true).await?,
        Way::Unprotected => through_trueup(&shop, users, false).await?,
    };
    Ok(Outcome::new(
        unseen == 0,
        [
            Figure::count("users who changed something", users.unsigned_abs()),
            Figure::count("of them shown the old on the next page", unseen),
        ],
    ))
}

/// Each machine has a map of its own, and deletes from that one.
async fn naive(shop: &Shop, users: i64) -> Result<u64, LabError> {
    let machines: [Mutex<HashMap<i64, String>>; 2] = Default::default();
    let read = async |machine: usize, id: i64| {
        let found = machines[machine].lock().get(&id).cloned();
        match found {
            Some(found) => Ok::<_, LabError>(found),
            None => {
                let nickname = shop.query(SELECT, [id]).await?;
                let nickname: String = nickname.unwrap_or_default();
                // For LIFE; nobody waits that long here.
                machines[machine].lock().insert(id, nickname.clone());
                Ok(nickname)
            }
        }
    };
    let (mut unseen, _) = (0, LIFE);
    for id in 0..users {
        read(0, id).await?;
        read(1, id).await?;
        shop.execute(UPDATE, (id, "new")).await?;
        machines[0].lock().remove(&id);
        unseen += u64::from(read(1, id).await? != "new");
    }
    Ok(unseen)
}

/// Two nodes; the user's next request carries what the write gave.
async fn through_trueup(shop: &Shop, users: i64, with_token: bool) -> Result<u64, LabError> {
    let failed = |why: &dyn std::fmt::Display| LabError::failed("a user's request", why);
    let plan = "[class.member]\ntable = \"member\"\nkey = [\"id\"]\nmax_staleness = \"10s\"\n";
    let nodes = shop.fleet(plan, 2).await?;
    let [first, second] = nodes.as_slice() else { return Err(failed(&"two nodes were asked for")) };
    let (on_first, on_second) =
        (first.class::<i64, Member>("member")?, second.class::<i64, Member>("member")?);
    let mut unseen = 0;
    for id in 0..users {
        on_first.get(&id).await.map_err(|why| failed(&why))?;
        on_second.get(&id).await.map_err(|why| failed(&why))?;
        let (_, token) = first.write(async |tx| tx.execute(UPDATE, (id, "new")).await).await?;
        let read = on_second.read(&id);
        let read = if with_token { read.token(token) } else { read };
        let seen = read.run().await.map_err(|why| failed(&why))?;
        unseen += u64::from(seen.value().is_none_or(|member| member.nickname != "new"));
    }
    first.shut_down().await;
    second.shut_down().await;
    Ok(unseen)
}

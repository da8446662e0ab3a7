//! Each machine keeps a map, and is told by a message when an entry is no longer true. A message is lost.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use trueup::Class;
use trueup_core::env::{Clock, spawn};

use super::{
    Figure, Outcome, Setup, Way, crowd::together, network::Network, node::Node, series::Ticks, shop::Shop,
};
use crate::world::LabError;

const MACHINES: usize = 3;
const ROWS: i64 = 60;
const READERS: usize = 24;
const WRITERS: usize = 2;
const MEETING: Duration = Duration::from_millis(2_400);
const WRITER_REST: Duration = Duration::from_millis(8);
const READER_REST: Duration = Duration::from_millis(1);
/// Of so many messages, one finds its receiver not connected: publish and subscribe keep nothing for who is away.
const LOST_ONE_IN: u32 = 25;
/// What the class promises, and until everything that was sent has arrived.
const BOUND: Duration = Duration::from_millis(250);
const REST: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(100);
const LIFE: Duration = Duration::from_secs(300);
const SELECT: &str = "SELECT price FROM product WHERE id = ?1";

#[derive(Clone, Serialize, Deserialize)]
struct Product {
    price: i64,
}

/// What the machines hold.
enum Cache {
    Naive(Arc<Maps>),
    Trueup { nodes: Vec<Node>, products: Vec<Class<i64, Product>>, proven: bool },
}

/// A map on each machine, and the messages between them.
struct Maps {
    maps: Vec<Mutex<HashMap<i64, i64>>>,
    network: Network,
    dice: Mutex<StdRng>,
    lost: AtomicU64,
}

struct World {
    shop: Shop,
    cache: Cache,
    /// Of each row, the price that was acknowledged last, and when, in all.
    written: Vec<AtomicU64>,
    reads: AtomicU64,
    over: AtomicBool,
    wrong: Ticks,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let rows: Vec<String> = (0..ROWS).map(|id| format!("({id}, 0)")).collect();
    let schema = format!(
        "CREATE TABLE product (id BIGINT NOT NULL PRIMARY KEY, price BIGINT NOT NULL); INSERT INTO product VALUES {}",
        rows.join(", ")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let cache = if way == Way::Naive {
        Cache::Naive(Arc::new(Maps {
            maps: (0..MACHINES).map(|_| Mutex::default()).collect(),
            network: Network::new(setup.seed ^ 0xB05),
            dice: Mutex::new(StdRng::seed_from_u64(setup.seed ^ 0x105)),
            lost: AtomicU64::new(0),
        }))
    } else {
        let nodes = shop.fleet(&plan(way), MACHINES).await?;
        let products = nodes.iter().map(|node| node.class("product")).collect::<Result<_, _>>()?;
        Cache::Trueup { nodes, products, proven: way == Way::Protected }
    };
    let world = Arc::new(World {
        shop,
        cache,
        written: (0..ROWS).map(|_| AtomicU64::new(0)).collect(),
        reads: AtomicU64::new(0),
        over: AtomicBool::new(false),
        wrong: Ticks::start(&Clock::system(), STEP),
    });
    let clients = together(WRITERS + READERS, |number| {
        let world = Arc::clone(&world);
        let dice = StdRng::seed_from_u64(setup.seed.wrapping_mul(1_000) + number as u64);
        async move {
            if number < WRITERS {
                world.write_on(number, dice).await
            } else {
                world.read_on(number, dice).await
            }
        }
    });
    let time = async {
        tokio::time::sleep(if setup.quick { MEETING / 2 } else { MEETING }).await;
        world.over.store(true, Ordering::Release);
    };
    let (clients, ()) = tokio::join!(clients, time);
    clients?;
    tokio::time::sleep(REST + BOUND).await;
    let mut wrong = 0_u64;
    for machine in 0..MACHINES {
        for id in 0..ROWS {
            let truth: i64 = world.shop.now(SELECT, [id]).await?.unwrap_or(0);
            wrong += u64::from(world.read(machine, id).await? != truth);
        }
    }
    let lost = match &world.cache {
        Cache::Naive(maps) => maps.lost.load(Ordering::Relaxed),
        Cache::Trueup { nodes, .. } => {
            for node in nodes {
                node.shut_down().await;
            }
            0
        }
    };
    let reads = world.reads.load(Ordering::Relaxed);
    Ok(Outcome::new(
        wrong == 0 && reads > 0,
        [
            Figure::count("reads on three machines", reads),
            Figure::count("messages lost between them", lost),
            Figure::count("entries still wrong when all is at rest (of 180)", wrong),
        ],
    )
    .over_time([world.wrong.series("answers that miss a write acknowledged before", "in 100 ms")]))
}

fn plan(way: Way) -> String {
    match way {
        Way::Unprotected => format!(
            "[class.product]\norigin = \"external\"\nkey = [\"id\"]\nscope = []\nlife = \"{}s\"\nl2 = false\n\
             invalidation = {{ owner = \"nobody\", reason = \"the proof is taken out\" }}\n",
            LIFE.as_secs()
        ),
        _ => format!(
            "[class.product]\ntable = \"product\"\nkey = [\"id\"]\nmax_staleness = \"{}ms\"\nl2 = false\n",
            BOUND.as_millis()
        ),
    }
}

impl Maps {
    /// Forgets the row here, and tells the others to.
    fn invalidate(self: &Arc<Self>, machine: usize, id: i64) {
        self.maps[machine].lock().remove(&id);
        for other in (0..MACHINES).filter(|other| *other != machine) {
            if self.dice.lock().random_ratio(1, LOST_ONE_IN) {
                self.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let maps = Arc::clone(self);
            let _ = spawn("lab message", async move {
                maps.network.hop().await;
                maps.maps[other].lock().remove(&id);
            });
        }
    }
}

impl World {
    /// Each writer has rows of its own, so that the last price is known.
    async fn write_on(&self, writer: usize, mut dice: StdRng) -> Result<(), LabError> {
        while !self.over.load(Ordering::Acquire) {
            let id = dice.random_range(0..ROWS / WRITERS as i64) * WRITERS as i64 + writer as i64;
            let update = "UPDATE product SET price = price + 1 WHERE id = ?1 RETURNING price";
            let price: i64 = self.shop.query(update, [id]).await?.unwrap_or(0);
            if let Cache::Naive(maps) = &self.cache {
                maps.invalidate(writer, id);
            }
            self.written[id as usize].store(price.unsigned_abs(), Ordering::Release);
            tokio::time::sleep(WRITER_REST).await;
        }
        Ok(())
    }

    async fn read_on(&self, reader: usize, mut dice: StdRng) -> Result<(), LabError> {
        while !self.over.load(Ordering::Acquire) {
            let id = dice.random_range(0..ROWS);
            let before = self.written[id as usize].load(Ordering::Acquire);
            let price = self.read(reader % MACHINES, id).await?;
            self.reads.fetch_add(1, Ordering::Relaxed);
            self.wrong.note(price.unsigned_abs() < before);
            tokio::time::sleep(READER_REST).await;
        }
        Ok(())
    }

    async fn read(&self, machine: usize, id: i64) -> Result<i64, LabError> {
        let price = async || Ok::<i64, LabError>(self.shop.query(SELECT, [id]).await?.unwrap_or(0));
        match &self.cache {
            Cache::Naive(maps) => {
                let found = maps.maps[machine].lock().get(&id).copied();
                if let Some(found) = found {
                    return Ok(found);
                }
                let price = price().await?;
                maps.maps[machine].lock().insert(id, price);
                Ok(price)
            }
            Cache::Trueup { products, proven: true, .. } => {
                let found = products[machine].get(&id).await?;
                Ok(found.value().map_or(0, |product| product.price))
            }
            Cache::Trueup { products, .. } => {
                let load = async || Ok::<_, LabError>(Some(Product { price: price().await? }));
                let found = products[machine].get_with(&id, load).await?;
                Ok(found.value().map_or(0, |product| product.price))
            }
        }
    }
}

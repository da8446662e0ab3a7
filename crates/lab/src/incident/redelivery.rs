//! A queue delivers again what was not acknowledged, a sender sends again what was not confirmed, and some messages overtake
//! others.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use once::{
    Once, Options,
    inbox::{Delivery, Received},
    store::{Owned as _, Store, Transaction as _},
};
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use trueup_core::env::Clock;

use super::{Figure, Outcome, Setup, Way, books::Story, crowd::together, series::Ticks, shop::Shop};
use crate::{load::Mishaps, world::LabError};

const ORDERS: usize = 100;
const CONSUMERS: usize = 3;
/// How senders and network treat messages.
const MISHAPS: Mishaps = Mishaps { twice: 0.1, late: 0.2, late_by_max: 8 };
/// Of so many messages, one is followed by the end of its consumer, before it acknowledges.
const CRASH_ONE_IN: u32 = 12;
/// Until a broker delivers again what was not acknowledged.
const AGAIN_AFTER: Duration = Duration::from_millis(30);
const STEP: Duration = Duration::from_millis(100);
/// The last state of a parcel.
const DELIVERED: i64 = 2;
const CREDIT: &str = "UPDATE credit SET times = times + 1 WHERE id = ?1 RETURNING times";
const STATE: &str = "UPDATE parcel SET state = ?2 WHERE id = ?1";

/// What a message tells.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// The order was paid: its customer gets points, once.
    Paid,
    /// The parcel is on its way (1), or there (2).
    Parcel(i64),
}

#[derive(Clone, Copy, Debug)]
struct Message {
    order: i64,
    told: Told,
    /// What the broker calls it: each sending has a number of its own.
    number: u64,
}

impl Message {
    /// What it is about, by the sender's own name.
    fn business_id(&self) -> String {
        match self.told {
            Told::Paid => format!("order-{}-paid", self.order),
            Told::Parcel(state) => format!("parcel-{}-{state}", self.order),
        }
    }
}

struct World {
    shop: Shop,
    queue: Mutex<VecDeque<Message>>,
    dice: Mutex<StdRng>,
    deliveries: AtomicU64,
    twice: Ticks,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let orders = setup.scaled(ORDERS) as i64;
    let rows = |from: &str| (1..=orders).map(|id| format!("({id}, {from})")).collect::<Vec<_>>().join(", ");
    let schema = format!(
        "CREATE TABLE credit (id BIGINT NOT NULL PRIMARY KEY, times BIGINT NOT NULL); INSERT INTO credit VALUES {}; \
         CREATE TABLE parcel (id BIGINT NOT NULL PRIMARY KEY, state BIGINT NOT NULL); INSERT INTO parcel VALUES {}; \
         CREATE TABLE handled (number BIGINT NOT NULL PRIMARY KEY)",
        rows("0"),
        rows("0")
    );
    let shop = Shop::open(&setup, &schema).await?;
    let books = shop.books()?;
    let queue = sent(orders, &mut StdRng::seed_from_u64(setup.seed ^ 0x9E5));
    let world = Arc::new(World {
        shop,
        queue: Mutex::new(queue.into()),
        dice: Mutex::new(StdRng::seed_from_u64(setup.seed)),
        deliveries: AtomicU64::new(0),
        twice: Ticks::start(&Clock::system(), STEP),
    });
    if way == Way::Naive {
        consumers(&world, |world, message| async move { world.naive(message).await }).await?;
    } else {
        let story = Protected { world: Arc::clone(&world), by_business_id: way == Way::Protected };
        books.tell(Options::new(), story).await?;
    }
    let of = async |sql| Ok::<_, LabError>(world.shop.now::<i64>(sql, ()).await?.unwrap_or(0).unsigned_abs());
    let twice = of("SELECT count(*) FROM credit WHERE times > 1").await?;
    let lost = of("SELECT count(*) FROM credit WHERE times = 0").await?;
    let older = of("SELECT count(*) FROM parcel WHERE state <> 2").await?;
    Ok(Outcome::new(
        twice == 0 && lost == 0 && older == 0,
        [
            Figure::count("messages", orders.unsigned_abs() * 3),
            Figure::count("deliveries of them", world.deliveries.load(Ordering::Relaxed)),
            Figure::count("orders credited more than once", twice),
            Figure::count("orders not credited", lost),
            Figure::count("parcels called on their way that are there", older),
        ],
    )
    .over_time([world.twice.sum("credits beyond the first of an order", "in all")]))
}

/// All messages, as they come: some late, some sent twice.
fn sent(orders: i64, dice: &mut StdRng) -> Vec<Message> {
    let mut messages = Vec::new();
    for told in [Told::Paid, Told::Parcel(1), Told::Parcel(DELIVERED)] {
        messages.extend((1..=orders).map(|order| Message { order, told, number: 0 }));
    }
    // Those of one order follow each other closely.
    messages.sort_by_key(|message| message.order);
    let mut messages = MISHAPS.deliver(&messages, dice);
    for (number, message) in messages.iter_mut().enumerate() {
        message.number = number as u64;
    }
    messages
}

/// Consumers of one queue, until it is empty; what `consume` does not acknowledge comes again.
async fn consumers<F>(
    world: &Arc<World>,
    consume: impl Fn(Arc<World>, Message) -> F + Send + Sync + 'static,
) -> Result<(), LabError>
where
    F: Future<Output = Result<bool, LabError>> + Send,
{
    let consume = Arc::new(consume);
    let all = together(CONSUMERS, |_| {
        let (world, consume) = (Arc::clone(world), Arc::clone(&consume));
        async move {
            loop {
                let next = world.queue.lock().pop_front();
                let Some(message) = next else { return Ok(()) };
                world.deliveries.fetch_add(1, Ordering::Relaxed);
                if !consume(Arc::clone(&world), message).await? {
                    tokio::time::sleep(AGAIN_AFTER).await;
                    world.queue.lock().push_back(message);
                }
            }
        }
    });
    all.await.map(drop)
}

impl World {
    fn crashes(&self) -> bool {
        self.dice.lock().random_ratio(1, CRASH_ONE_IN)
    }

    /// Looks whether the message's number is known, does what it asks for, and writes the number down. False when the process
    /// ends before it acknowledges.
    async fn naive(&self, message: Message) -> Result<bool, LabError> {
        let number = message.number as i64;
        let known: Option<i64> =
            self.shop.query("SELECT number FROM handled WHERE number = ?1", [number]).await?;
        if known.is_some() {
            return Ok(true);
        }
        match message.told {
            Told::Paid => {
                let times: Option<i64> = self.shop.query(CREDIT, [message.order]).await?;
                self.twice.note(times > Some(1));
            }
            Told::Parcel(state) => drop(self.shop.execute(STATE, [message.order, state]).await?),
        }
        if self.crashes() {
            return Ok(false);
        }
        let insert = "INSERT INTO handled (number) VALUES (?1) ON CONFLICT (number) DO NOTHING";
        self.shop.execute(insert, [number]).await?;
        Ok(true)
    }
}

/// The message's effect, and that it had it, are one transaction.
struct Protected {
    world: Arc<World>,
    /// By the sender's own name for it, and states by their order; else by the broker's number.
    by_business_id: bool,
}

impl Story for Protected {
    type Told = ();

    async fn on<S: Store>(self, once: Once<S>) -> Result<(), LabError> {
        let by_business_id = self.by_business_id;
        consumers(&self.world, move |world, message| {
            let once = once.clone();
            async move { consume(&world, &once, message, by_business_id).await }
        })
        .await
    }
}

async fn consume<S: Store>(
    world: &World,
    once: &Once<S>,
    message: Message,
    by_business_id: bool,
) -> Result<bool, LabError> {
    let name = if by_business_id { message.business_id() } else { format!("number-{}", message.number) };
    let parcel = format!("parcel-{}", message.order);
    let delivery = Delivery::new("shop", &name);
    let delivery = match message.told {
        Told::Parcel(state) if by_business_id => delivery.latest(&parcel, state),
        _ => delivery,
    };
    let tx = once.store().begin().await?;
    if once.inbox().receive(&tx, &delivery).await? == Received::First {
        let order = message.order.into();
        match message.told {
            Told::Paid => {
                let row = tx.query_row(&CREDIT.replace("?1", "$1"), &[order]).await?;
                let times = row.map_or(Ok(0), |row| row.int(0))?;
                world.twice.note(times > 1);
            }
            Told::Parcel(state) => {
                tx.execute(&STATE.replace('?', "$"), &[order, state.into()]).await?;
            }
        }
    }
    // Before the commit, as likely as after it.
    if world.crashes() {
        return Ok(false);
    }
    tx.commit().await?;
    Ok(!world.crashes())
}

//! A charge is made, its answer does not come, and the client tries again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use once::{
    Claim, Completer, Fingerprint, Held, Key, Once, OnceError, Options, Point, Request, Resume, Resumed,
    Scope, Step, StoredResponse,
    store::{Owned as _, Store, Transaction as _},
};
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use trueup_core::env::{Clock, spawn};

use super::{
    Figure, Outcome, Setup, Way, books::Story, crowd::together, gateway::Gateway, series::Ticks, shop::Shop,
};
use crate::world::LabError;

const ORDERS: usize = 80;
/// Orders come over this time.
const WITHIN: Duration = Duration::from_millis(2_000);
/// How long a client waits for its answer, how often it tries, and what it rests before it tries again.
const CLIENT_PATIENCE: Duration = Duration::from_millis(50);
const TRIES: usize = 4;
const REST: Duration = Duration::from_millis(15);
/// Of so many charges, one is followed by the end of the process that made it, before it wrote down what it did.
const CRASH_ONE_IN: u32 = 10;
/// A worker that is silent for longer is taken to be dead.
const LEASE: Duration = Duration::from_millis(400);
/// Until everything that was begun has come to its end.
const REST_AFTER: Duration = Duration::from_secs(6);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const STEP: Duration = Duration::from_millis(100);
const INTENT: Point = Point::new("INTENT");
const SCHEMA: &str = "CREATE TABLE purchase (id BIGINT NOT NULL PRIMARY KEY, charge TEXT NOT NULL, state TEXT NOT NULL); \
     CREATE TABLE seen (name TEXT NOT NULL PRIMARY KEY, answer TEXT NOT NULL)";

/// What all requests of one way share.
struct World {
    shop: Shop,
    gateway: Arc<Gateway>,
    dice: Mutex<StdRng>,
    requests: AtomicU64,
    /// Names that the naive side has given to charges.
    named: AtomicU64,
    twice: Ticks,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let shop = Shop::open(&setup, SCHEMA).await?;
    let books = shop.books()?;
    let world = Arc::new(World {
        shop,
        gateway: Gateway::open(setup.seed),
        dice: Mutex::new(StdRng::seed_from_u64(setup.seed)),
        requests: AtomicU64::new(0),
        named: AtomicU64::new(0),
        twice: Ticks::start(&Clock::system(), STEP),
    });
    let orders = setup.scaled(ORDERS);
    if way == Way::Naive {
        let handler = Arc::new(Naive(Arc::clone(&world)));
        let pay = move |order, key: String| {
            let handler = Arc::clone(&handler);
            async move { handler.pay(order, &key).await }
        };
        clients(orders, &world, false, pay).await?;
    } else {
        let story = Protected { world: Arc::clone(&world), orders, keys_anew: way == Way::Unprotected };
        books.tell(Options::new().lease(LEASE), story).await?;
    }
    let (charged, twice) = world.gateway.orders();
    let paid: i64 =
        world.shop.now("SELECT count(*) FROM purchase WHERE state = 'paid'", ()).await?.unwrap_or(0);
    Ok(Outcome::new(
        twice == 0 && charged == orders && paid == orders as i64,
        [
            Figure::count("orders", orders),
            Figure::count("requests sent for them", world.requests.load(Ordering::Relaxed)),
            Figure::count("charges", world.gateway.charges()),
            Figure::count(TWICE, twice),
            Figure::count("orders paid in the shop's own books", paid.unsigned_abs()),
        ],
    )
    .over_time([world.twice.sum("charges beyond the first of an order", "in all")]))
}

pub(super) const TWICE: &str = "customers charged more than once";

/// Customers who order over a while, each with a key of its own that its retries carry too; with `keys_anew` each request has
/// another.
async fn clients<F>(
    orders: usize,
    world: &Arc<World>,
    keys_anew: bool,
    pay: impl Fn(i64, String) -> F + Send + Sync + 'static,
) -> Result<(), LabError>
where
    F: Future<Output = Result<bool, LabError>> + Send + 'static,
{
    let pay = Arc::new(pay);
    together(orders, |client| {
        let (world, pay) = (Arc::clone(world), Arc::clone(&pay));
        async move {
            tokio::time::sleep(WITHIN * client as u32 / orders as u32).await;
            let order = 1 + client as i64;
            for again in 0..TRIES {
                let key = if keys_anew { again } else { 0 };
                let request = pay(order, format!("order-{order}-of-some-customer-{key}"));
                world.requests.fetch_add(1, Ordering::Relaxed);
                if answer(request).await? {
                    break;
                }
                tokio::time::sleep(REST).await;
            }
            Ok(())
        }
    })
    .await?;
    // Servers go on for a while when the last client has left.
    tokio::time::sleep(CLIENT_PATIENCE * 4).await;
    Ok(())
}

/// The answer of a server that goes on whether or not its client still waits; false where it comes too late.
async fn answer(
    request: impl Future<Output = Result<bool, LabError>> + Send + 'static,
) -> Result<bool, LabError> {
    let answered = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&answered);
    let server = spawn("lab shop", async move {
        let answer = request.await;
        *kept.lock() = Some(answer);
    });
    let _ = tokio::time::timeout(CLIENT_PATIENCE, server.ended()).await;
    let answer = answered.lock().take();
    answer.unwrap_or(Ok(false))
}

impl World {
    /// Charges; false when the process ends right after it.
    async fn charge(&self, name: &str, order: i64) -> bool {
        let again = self.gateway.charge(name, order).await;
        self.twice.note(again);
        !self.dice.lock().random_ratio(1, CRASH_ONE_IN)
    }
}

/// Looks whether the key is known, charges, and writes the key down.
struct Naive(Arc<World>);

impl Naive {
    /// Whether the client has its answer.
    async fn pay(&self, order: i64, key: &str) -> Result<bool, LabError> {
        let world = &self.0;
        let known: Option<String> =
            world.shop.query("SELECT answer FROM seen WHERE name = ?1", [key]).await?;
        if known.is_some() {
            return Ok(true);
        }
        // The gateway is given a name for what it is asked to do, as its documentation says: one for each request.
        let name = format!("charge-{}", world.named.fetch_add(1, Ordering::Relaxed));
        if !world.charge(&name, order).await {
            return Ok(false);
        }
        let insert =
            "INSERT INTO purchase (id, charge, state) VALUES (?1, ?2, 'paid') ON CONFLICT (id) DO NOTHING";
        world.shop.execute(insert, (order, name)).await?;
        let insert = "INSERT INTO seen (name, answer) VALUES (?1, 'paid') ON CONFLICT (name) DO NOTHING";
        world.shop.execute(insert, [key]).await?;
        Ok(true)
    }
}

/// The key is claimed in the transaction that writes down what is intended, the charge carries that intention's name, and who
/// comes later, or goes on for a dead one, asks with the same name.
struct Protected {
    world: Arc<World>,
    orders: usize,
    keys_anew: bool,
}

impl Story for Protected {
    type Told = ();

    async fn on<S: Store>(self, once: Once<S>) -> Result<(), LabError> {
        let charges = Arc::new(Charges { world: Arc::clone(&self.world) });
        // Goes on with what a worker that is gone has left.
        let completer = Completer::new(once.clone(), Completing(Arc::clone(&charges))).start();
        let pay = move |order, key: String| {
            let (once, charges) = (once.clone(), Arc::clone(&charges));
            async move { charges.pay(&once, order, &key).await }
        };
        clients(self.orders, &self.world, self.keys_anew, pay).await?;
        let clock = Clock::system();
        let began = clock.now();
        let open = "SELECT count(*) FROM purchase WHERE state <> 'paid'";
        while clock.now().since(began) < REST_AFTER && self.world.shop.now::<i64>(open, ()).await? != Some(0)
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        completer.stop();
        completer.ended().await;
        Ok(())
    }
}

struct Charges {
    world: Arc<World>,
}

struct Completing(Arc<Charges>);

impl<S: Store> Resume<S> for Completing {
    async fn resume(
        &self,
        once: &Once<S>,
        held: Held,
    ) -> Result<Resumed, Box<dyn std::error::Error + Send + Sync>> {
        Ok(if self.0.go_on(once, &held).await? {
            Resumed::Finished
        } else {
            Resumed::Later(Some(LOOK_EVERY))
        })
    }
}

impl Charges {
    /// Whether the client has its answer.
    async fn pay<S: Store>(&self, once: &Once<S>, order: i64, key: &str) -> Result<bool, LabError> {
        let key = Key::new(key).map_err(|why| LabError::failed("a key", why))?;
        let asked = Fingerprint::of(1, "POST", "/purchases").body(&order, &[])?;
        let request = Request::new(Scope::new("shop/customer", key)?, asked);
        let tx = once.store().begin().await?;
        let held = match once.claim(&tx, &request).await? {
            Claim::Granted(held) => {
                let name = format!("charge-{}", held.id().0);
                let insert = "INSERT INTO purchase (id, charge, state) VALUES ($1, $2, 'begun') ON CONFLICT (id) DO NOTHING";
                tx.execute(insert, &[order.into(), name.as_str().into()]).await?;
                once.advance(&tx, &held, Step::to(INTENT).data(format!("{order} {name}"))).await?
            }
            Claim::Resumed(held) => held,
            Claim::Replay(_) => return Ok(true),
            // 409: somebody works on it.
            _ => return Ok(false),
        };
        tx.commit().await?;
        self.go_on(once, &held).await
    }

    /// Charges what was intended, and writes down that it was. False when the process ends in between, or another has taken
    /// over.
    async fn go_on<S: Store>(&self, once: &Once<S>, held: &Held) -> Result<bool, LabError> {
        let intended = String::from_utf8_lossy(held.data().unwrap_or_default()).into_owned();
        let (order, name) = intended.split_once(' ').unwrap_or_default();
        let order: i64 = order.parse().unwrap_or_default();
        if !self.world.charge(name, order).await {
            return Ok(false);
        }
        let tx = once.store().begin().await?;
        match once.finish(&tx, held, &StoredResponse::new(201, "paid")?).await {
            Err(OnceError::Discarded { .. }) => return Ok(false),
            finished => drop(finished?),
        }
        tx.execute("UPDATE purchase SET state = 'paid' WHERE id = $1", &[order.into()]).await?;
        tx.commit().await?;
        Ok(true)
    }
}

//! Redis dies at twenty times what the database can take.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use trueup::engine::{env::random, guard::LoadLimits};

use super::{
    load::{Fate, Outcomes, Page, run},
    naive::Naive,
    world::{ACCOUNTS, Account, PRODUCTS, Product, World, busiest_second, now_ms, scaled},
};

/// What the database is said to take, in loads a second.
const BUDGET: u32 = 200;
/// Reads a second.
const READS: u64 = 20 * BUDGET as u64;
/// One read in ten is for the core.
const CORE_SHARE: f64 = 0.1;

/// Memory holds the accounts and next to no products: what stands between the products' readers and the database is Redis.
const PLAN: &str = "[l2]\nurls = [\"redis://h:1\"]\n\
    [class.account]\ntable = \"account\"\nkey = [\"id\"]\npriority = \"critical\"\nl2 = true\n\
    max_staleness = \"5s\"\n\
    [class.product]\ntable = \"product\"\nkey = [\"id\"]\npriority = \"sheddable\"\nl2 = true\n\
    l1_capacity = \"256KiB\"\nvalue_bytes_max = \"8KiB\"\nhard_timeout = \"1s\"\n";

fn any(of: i64) -> i64 {
    1 + (random::number() % of as u64) as i64
}

/// Milliseconds since 1970 at which the phases began: with Redis, without it, with it again, end.
struct Phases([u64; 4]);

async fn phases<R, F>(world: &mut World, outcomes: &Arc<Outcomes>, read: R) -> Phases
where
    R: Fn(Page) -> F,
    F: Future<Output = Fate> + Send + 'static,
{
    let mut began = [now_ms(); 4];
    run(outcomes, READS, scaled(10), CORE_SHARE, &read).await;
    world.redis.kill();
    began[1] = now_ms();
    run(outcomes, READS, scaled(20), CORE_SHARE, &read).await;
    world.redis.start_again().unwrap();
    began[2] = now_ms();
    run(outcomes, READS, scaled(20), CORE_SHARE, &read).await;
    began[3] = now_ms();
    Phases(began)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes"]
async fn redis_dies_at_twenty_times_the_budget_and_the_source_never_sees_more_than_its_budget() {
    let mut world = World::start();

    let limits = LoadLimits {
        loads_max: NonZeroU32::new(16).unwrap(),
        loads_per_second_max: NonZeroU32::new(BUDGET),
        ..LoadLimits::default()
    };
    let node = world.node(PLAN, limits).await;
    let accounts = node.class::<i64, Account>("account").unwrap();
    let products = node.class::<i64, Product>("product").unwrap();
    // In batches: each is one load. Redis has all products before it dies.
    for ids in (1..=PRODUCTS).collect::<Vec<_>>().chunks(200) {
        products.get_many(ids).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    accounts.get_many(&(1..=ACCOUNTS).collect::<Vec<_>>()).await.unwrap();
    // What overflowed on the way is not shared: nearly all is enough.
    let mut stored = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = std::mem::replace(&mut stored, node.cache().remote_counts().unwrap().stored);
        if stored == before {
            break;
        }
    }
    println!("{stored} of {} entries in Redis before it dies", PRODUCTS + ACCOUNTS);
    let outcomes = Arc::new(Outcomes::default());
    let read = |page| {
        let (accounts, products) = (accounts.clone(), products.clone());
        async move {
            match page {
                Page::Core => Fate::of(&accounts.get(&any(ACCOUNTS)).await),
                Page::Other => Fate::of(&products.get(&any(PRODUCTS)).await),
            }
        }
    };
    let Phases([begin, killed, back, end]) = phases(&mut world, &outcomes, read).await;
    let statements = world.statements_on(&["product", "account"]);
    outcomes.print("Trueup", begin, &statements);
    let peak = |from, to| busiest_second(&statements[..statements.partition_point(|at| *at < to)], from);
    let (down, again) = (outcomes.between(killed, back), outcomes.between(back, end));
    node.shut_down().await;

    let naive = Naive::new(&world).await;
    for table in [("product", PRODUCTS), ("account", ACCOUNTS)] {
        for id in 1..=table.1 {
            naive.clone().read(table.0, id).await;
        }
    }
    let naive_outcomes = Arc::new(Outcomes::default());
    let naive_read = |page| {
        let naive = naive.clone();
        async move {
            match page {
                Page::Core => naive.read("account", any(ACCOUNTS)).await,
                Page::Other => naive.read("product", any(PRODUCTS)).await,
            }
        }
    };
    let Phases([n_begin, n_killed, n_back, n_end]) = phases(&mut world, &naive_outcomes, naive_read).await;
    let n_statements = world.statements_on(&["product", "account"]);
    naive_outcomes.print("naive", n_begin, &n_statements);
    let n_peak =
        |from, to| busiest_second(&n_statements[..n_statements.partition_point(|at| *at < to)], from);
    let (n_down, n_again) = (naive_outcomes.between(n_killed, n_back), naive_outcomes.between(n_back, n_end));

    println!(
        "budget {BUDGET} loads/s, {READS} reads/s, counted in the database's own log; any second, not the clock's"
    );
    println!("                                             Trueup     naive");
    println!(
        "busiest second without Redis               {:>8} {:>9}",
        peak(killed, back),
        n_peak(n_killed, n_back)
    );
    println!(
        "busiest second after it is back            {:>8} {:>9}",
        peak(back, end),
        n_peak(n_back, n_end)
    );
    println!(
        "core reads answered without Redis          {:>8.3} {:>9.3} %",
        down.core_answered() * 100.0,
        n_down.core_answered() * 100.0
    );
    println!(
        "core reads answered after it is back       {:>8.3} {:>9.3} %",
        again.core_answered() * 100.0,
        n_again.core_answered() * 100.0
    );
    println!(
        "core reads, p99 without Redis              {:>8.2} {:>9.2} ms",
        down.core_p99(),
        n_down.core_p99()
    );
    println!(
        "other reads without Redis, shed with a wait {:>7} {:>9}",
        down.count(Page::Other, Fate::Shed),
        n_down.count(Page::Other, Fate::Shed)
    );
    println!(
        "other reads without Redis, without a word  {:>8} {:>9}",
        down.count(Page::Other, Fate::Failed),
        n_down.count(Page::Other, Fate::Failed)
    );

    let most = (f64::from(BUDGET) * 1.1) as usize;
    assert!(peak(begin, end) <= most, "{} statements in a second, at most {most}", peak(begin, end));
    assert!(down.core_answered() >= 0.999 && again.core_answered() >= 0.999);
    assert_eq!(down.count(Page::Other, Fate::Failed), 0, "what is shed says so");
    assert!(n_peak(n_killed, n_back) > most, "the naive way shows what the guard is for");
}

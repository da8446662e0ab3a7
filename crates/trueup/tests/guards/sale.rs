//! A sale at seventeen times the daily peak, of things that nobody has looked at yet.

use std::{num::NonZeroU32, sync::Arc};

use trueup::engine::{env::random, guard::LoadLimits};

use super::{
    load::{Fate, Outcomes, Page, Summary, run},
    naive::Naive,
    world::{ACCOUNTS, Account, PRODUCTS, Product, World, busiest_second, now_ms, scaled},
};

/// Reads a second on a usual day's peak.
const NORMAL: u64 = 200;
const SALE: u64 = 17 * NORMAL;
const CORE_SHARE: f64 = 0.2;
/// What the database is said to take, in loads a second.
const BUDGET: u32 = 200;

const PLAN: &str = "[l2]\nurls = [\"redis://h:1\"]\n\
    [class.account]\ntable = \"account\"\nkey = [\"id\"]\npriority = \"critical\"\nl2 = true\n\
    max_staleness = \"5s\"\n\
    [class.product]\ntable = \"product\"\nkey = [\"id\"]\npriority = \"sheddable\"\nl2 = true\n\
    l1_capacity = \"256KiB\"\nvalue_bytes_max = \"8KiB\"\nhard_timeout = \"200ms\"\n\
    hit_rate_floor = \"80%\"\nfallback = { value = { id = 0, name = \"please look again in a moment\" } }\n";

/// On a usual day readers look at a tenth of the products; in the sale at all of them.
fn product(sale: bool) -> i64 {
    1 + (random::number() % (if sale { PRODUCTS } else { PRODUCTS / 10 }) as u64) as i64
}

fn account() -> i64 {
    1 + (random::number() % ACCOUNTS as u64) as i64
}

async fn day<R, F>(outcomes: &Arc<Outcomes>, read: R) -> (Summary, Summary, [u64; 3])
where
    R: Fn(Page, bool) -> F,
    F: Future<Output = Fate> + Send + 'static,
{
    run(outcomes, NORMAL, scaled(20), CORE_SHARE, |page| read(page, false)).await;
    let normal = now_ms();
    run(outcomes, NORMAL, scaled(20), CORE_SHARE, |page| read(page, false)).await;
    let sale = now_ms();
    run(outcomes, SALE, scaled(60), CORE_SHARE, |page| read(page, true)).await;
    let end = now_ms();
    (outcomes.between(normal, sale), outcomes.between(sale, end), [normal, sale, end])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes four minutes"]
async fn a_sale_at_seventeen_times_the_peak_leaves_the_core_as_fast_as_on_any_day() {
    let world = World::start();
    let limits = LoadLimits {
        loads_max: NonZeroU32::new(16).unwrap(),
        loads_per_second_max: NonZeroU32::new(BUDGET),
        ..LoadLimits::default()
    };
    let node = world.node(PLAN, limits).await;
    let accounts = node.class::<i64, Account>("account").unwrap();
    let products = node.class::<i64, Product>("product").unwrap();
    let outcomes = Arc::new(Outcomes::default());
    let read = |page, sale| {
        let (accounts, products) = (accounts.clone(), products.clone());
        async move {
            match page {
                Page::Core => Fate::of(&accounts.get(&account()).await),
                Page::Other => Fate::of(&products.get(&product(sale)).await),
            }
        }
    };
    let (normal, sale, [begin, _, end]) = day(&outcomes, read).await;
    let statements = world.statements_on(&["product", "account"]);
    outcomes.print("Trueup", begin, &statements);
    let peak = busiest_second(&statements[..statements.partition_point(|at| *at < end)], begin);
    let tripped = node.cache().source_guard().status();
    node.shut_down().await;

    let naive = Naive::new(&world).await;
    let naive_outcomes = Arc::new(Outcomes::default());
    let naive_read = |page, sale| {
        let naive = naive.clone();
        async move {
            match page {
                Page::Core => naive.read("account", account()).await,
                Page::Other => naive.read("product", product(sale)).await,
            }
        }
    };
    let (n_normal, n_sale, [n_begin, n_sale_began, n_end]) = day(&naive_outcomes, naive_read).await;
    let n_statements = world.statements_on(&["product", "account"]);
    naive_outcomes.print("naive", n_begin, &n_statements);
    let n_peak =
        busiest_second(&n_statements[..n_statements.partition_point(|at| *at < n_end)], n_sale_began);

    println!(
        "{NORMAL} reads/s, then {SALE}; budget {BUDGET} loads/s; hit rate below its floor at the end: {:?}",
        tripped.below_floor
    );
    println!("                                  Trueup     naive");
    println!("core p50, normal                {:>8.3} {:>9.3} ms", normal.core_p50(), n_normal.core_p50());
    println!("core p50, sale                  {:>8.3} {:>9.3} ms", sale.core_p50(), n_sale.core_p50());
    println!("core p99, normal                {:>8.3} {:>9.3} ms", normal.core_p99(), n_normal.core_p99());
    println!("core p99, sale                  {:>8.3} {:>9.3} ms", sale.core_p99(), n_sale.core_p99());
    println!(
        "core answered, sale             {:>8.3} {:>9.3} %",
        sale.core_answered() * 100.0,
        n_sale.core_answered() * 100.0
    );
    let other = |summary: &Summary, fate| summary.count(Page::Other, fate);
    println!(
        "other from a tier, sale         {:>8} {:>9}",
        other(&sale, Fate::Cached),
        other(&n_sale, Fate::Cached)
    );
    println!(
        "other from the source, sale     {:>8} {:>9}",
        other(&sale, Fate::Source),
        other(&n_sale, Fate::Source)
    );
    println!(
        "other by fallback, sale         {:>8} {:>9}",
        other(&sale, Fate::StoodIn),
        other(&n_sale, Fate::StoodIn)
    );
    println!(
        "other shed or failed, sale      {:>8} {:>9}",
        other(&sale, Fate::Shed) + other(&sale, Fate::Failed),
        other(&n_sale, Fate::Shed) + other(&n_sale, Fate::Failed)
    );
    println!("busiest second of the source    {peak:>8} {n_peak:>9}");

    assert!(peak <= (f64::from(BUDGET) * 1.1) as usize, "{peak}");
    assert!(sale.core_answered() >= 0.999);
    assert!(other(&sale, Fate::StoodIn) > 0);
    assert_eq!(other(&sale, Fate::Failed) + other(&sale, Fate::Shed), 0, "everybody gets something");
}

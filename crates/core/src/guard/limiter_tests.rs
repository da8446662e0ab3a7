use std::pin::Pin;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn limiter(loads_max: u32, per_second: Option<u32>) -> Arc<Limiter> {
    let limits = LoadLimits {
        loads_max: NonZeroU32::new(loads_max).unwrap(),
        loads_per_second_max: per_second.and_then(NonZeroU32::new),
        critical_reserve: 0.2,
        ..LoadLimits::default()
    };
    Limiter::new(limits, Clock::stepped())
}

type Waiter<'a> = Pin<Box<dyn Future<Output = Result<Permit, LoadError>> + 'a>>;

/// Begins to wait; must not be let through at once.
fn waits<'a>(limiter: &'a Arc<Limiter>, priority: Priority) -> Waiter<'a> {
    let mut waiter: Waiter<'a> = Box::pin(limiter.acquire(priority, LONG));
    assert!(poll(&mut waiter).is_none(), "{priority:?} is let through");
    waiter
}

fn poll(waiter: &mut Waiter<'_>) -> Option<Result<Permit, LoadError>> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match waiter.as_mut().poll(&mut context) {
        std::task::Poll::Ready(answer) => Some(answer),
        std::task::Poll::Pending => None,
    }
}

fn fill(limiter: &Arc<Limiter>, priority: Priority, count: usize) -> Vec<Permit> {
    (0..count).map(|_| limiter.try_acquire(priority).expect("a place is free")).collect()
}

fn shed_by(error: &LoadError) -> ShedReason {
    match error {
        LoadError::Shed { why, .. } => *why,
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_reserve_is_kept_for_critical_loads_and_more_for_normal_ones() {
    let limiter = limiter(10, None);
    let _sheddable = fill(&limiter, Priority::Sheddable, 6);
    assert!(limiter.try_acquire(Priority::Sheddable).is_none());
    let _normal = fill(&limiter, Priority::Normal, 2);
    assert!(limiter.try_acquire(Priority::Normal).is_none());
    let _critical = fill(&limiter, Priority::Critical, 2);
    assert!(limiter.try_acquire(Priority::Critical).is_none(), "the ceiling holds for all");
}

#[tokio::test(start_paused = true)]
async fn the_most_important_goes_first_and_nobody_less_important_overtakes() {
    let limiter = limiter(1, None);
    let running = fill(&limiter, Priority::Normal, 1);
    let mut sheddable = waits(&limiter, Priority::Sheddable);
    let mut normal = waits(&limiter, Priority::Normal);
    let mut critical = waits(&limiter, Priority::Critical);
    drop(running);
    let permit = poll(&mut critical).expect("critical is first").unwrap();
    assert!(poll(&mut normal).is_none() && poll(&mut sheddable).is_none());
    drop(permit);
    let permit = poll(&mut normal).expect("then normal").unwrap();
    assert!(poll(&mut sheddable).is_none());
    drop(permit);
    assert!(poll(&mut sheddable).is_some());
}

#[tokio::test(start_paused = true)]
async fn when_the_queue_is_full_the_newest_of_the_least_important_makes_room() {
    let limiter = limiter(1, None);
    let _running = fill(&limiter, Priority::Critical, 1);
    let mut waiting: Vec<_> =
        (0..WAITING_PER_RUNNING).map(|_| waits(&limiter, Priority::Sheddable)).collect();
    let refused = limiter.acquire(Priority::Sheddable, LONG).await.unwrap_err();
    assert_eq!(shed_by(&refused), ShedReason::QueueFull);
    let _critical = waits(&limiter, Priority::Critical);
    let newest = poll(waiting.last_mut().unwrap()).expect("it was displaced").unwrap_err();
    assert_eq!(shed_by(&newest), ShedReason::Displaced);
    assert!(poll(&mut waiting[0]).is_none(), "the others stay");
    let status = limiter.status();
    assert_eq!(status.waiting, [1, 0, WAITING_PER_RUNNING - 1]);
    assert_eq!(status.counts.shed[2], [1, 0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_is_told_grows_with_the_queue() {
    let limiter = limiter(1, Some(100));
    let _running = fill(&limiter, Priority::Critical, 1);
    let told = |limiter: &Arc<Limiter>| limiter.retry_after_ms(&limiter.state.lock(), Priority::Critical);
    let empty = told(&limiter);
    let _waiting: Vec<_> = (0..50).map(|_| waits(&limiter, Priority::Critical)).collect();
    let long = told(&limiter);
    // 51 loads of 20 ms, one at a time.
    assert_eq!((empty, long), (20, 1_020));
}

#[tokio::test(start_paused = true)]
async fn waiting_has_an_end_and_leaves_no_trace() {
    let limiter = limiter(1, None);
    let running = fill(&limiter, Priority::Normal, 1);
    let late = limiter.acquire(Priority::Normal, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(shed_by(&late), ShedReason::WaitedTooLong);
    drop(waits(&limiter, Priority::Normal));
    assert_eq!(limiter.status().waiting, [0, 0, 0]);
    drop(running);
    assert_eq!(limiter.status().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_place_given_to_somebody_who_left_goes_to_the_next() {
    let limiter = limiter(1, None);
    let running = fill(&limiter, Priority::Normal, 1);
    let gone = waits(&limiter, Priority::Normal);
    let mut next = waits(&limiter, Priority::Normal);
    drop(running);
    // The first has its place by now, and never looks.
    drop(gone);
    assert!(poll(&mut next).is_some());
}

#[tokio::test(start_paused = true)]
async fn the_rate_holds_and_critical_loads_are_first_in_line() {
    let limiter = limiter(64, Some(10));
    let _first = fill(&limiter, Priority::Sheddable, 1);
    let mut sheddable = waits(&limiter, Priority::Sheddable);
    let mut critical = waits(&limiter, Priority::Critical);
    limiter.clock.advance(Duration::from_millis(100));
    tokio::time::sleep(Duration::from_millis(101)).await;
    assert!(poll(&mut critical).is_some());
    assert!(poll(&mut sheddable).is_none());
    // Eight of ten a second are not kept for critical loads: one each 125 ms.
    limiter.clock.advance(Duration::from_millis(200));
    tokio::time::sleep(Duration::from_millis(201)).await;
    assert!(poll(&mut sheddable).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_low_hit_rate_lets_no_sheddable_load_wait_and_leaves_little_to_what_is_not_critical() {
    let limiter = limiter(16, None);
    let running = fill(&limiter, Priority::Critical, 16);
    let mut sheddable = waits(&limiter, Priority::Sheddable);
    limiter.set_tripped(true);
    let left_out = poll(&mut sheddable).expect("who waited is told").unwrap_err();
    assert_eq!(shed_by(&left_out), ShedReason::HitRate);
    drop(running);
    let _sheddable = fill(&limiter, Priority::Sheddable, 2);
    assert!(limiter.acquire(Priority::Sheddable, LONG).await.is_err());
    let _normal = fill(&limiter, Priority::Normal, 2);
    let _waits = waits(&limiter, Priority::Normal);
    assert!(limiter.acquire(Priority::Critical, LONG).await.is_ok());
    limiter.set_tripped(false);
    assert!(limiter.try_acquire(Priority::Sheddable).is_some());
}

#[tokio::test(start_paused = true)]
async fn after_a_start_a_growing_share_of_what_is_not_critical_is_let_through_and_the_rest_is_told_when_to_ask()
 {
    let ramp = Duration::from_secs(10);
    let limits = LoadLimits { ramp, ramp_floor: 0.1, ..LoadLimits::default() };
    let (clock, mut admitted) = (Clock::stepped(), Vec::new());
    let limiter = Limiter::new(limits, clock.clone());
    for _second in 0..12 {
        let mut passed = 0;
        for _ in 0..100 {
            clock.advance(Duration::from_millis(10));
            let critical = limiter.acquire(Priority::Critical, LONG).await;
            assert!(critical.is_ok(), "a critical load is not held back");
            assert!(limiter.acquire_unramped(Priority::Sheddable, LONG).await.is_ok(), "nor what warms");
            match limiter.acquire(Priority::Normal, LONG).await {
                Ok(_permit) => passed += 1,
                Err(LoadError::Shed { why: ShedReason::Ramp, retry_after_ms: 1..=1_000 }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        admitted.push(passed);
    }
    assert!((10..=20).contains(&admitted[0]) && admitted.is_sorted(), "{admitted:?}");
    assert_eq!(&admitted[10..], [100, 100]);
    let status = limiter.status();
    assert_eq!(status.ramp_share, 1.0);
    let shed: u64 = status.counts.shed[Priority::Normal.index()].iter().sum();
    assert_eq!(shed, 1_200 - admitted.iter().sum::<u64>());
    limiter.begin_ramp();
    assert_eq!(limiter.status().ramp_share, 0.1, "a node that warms first begins after that");
}

//! Locks that are released before their time.

use trueup_core::{receipt::ServedBy, source::LoadError};

use super::{
    super::{
        remote::aged_envelope,
        source::Act,
        world::{Answer, Pending, by, ms, plan, text},
    },
    Fleet, fleet, place, shared,
};

/// Two nodes that know that loads take three seconds; the first has taken the lock of 1 for its load, which fails after 10 ms, and the
/// second waits for it.
async fn released_early() -> (Fleet, Pending<Answer>) {
    let fleet = fleet(2, shared).await;
    fleet.nodes[0].write(1, "a");
    for (index, node) in fleet.nodes.iter().enumerate() {
        fleet.database.close_gate();
        let learning = node.start_get(1_000 + index as i64);
        fleet.database.until_waiting(1).await;
        for _ in 0..30 {
            node.pass_healthily(ms(100)).await;
        }
        fleet.database.open_gate();
        learning.end().await.unwrap();
        fleet.pass(ms(5)).await;
    }
    fleet.database.script([Act::Fail(LoadError::Lost)]);
    fleet.database.close_gate();
    let failing = fleet.nodes[0].start_get(1);
    fleet.database.until_waiting(1).await;
    let waiting = fleet.nodes[1].start_get(1);
    fleet.pass(ms(10)).await;
    fleet.database.open_gate();
    assert!(failing.end().await.is_err());
    fleet.nodes[0].turns().await;
    assert!(!fleet.remote.is_locked(&place(1)), "released");
    (fleet, waiting)
}

/// Its time is not over, so the lock itself is asked for by one look in four alone. A look is made every 35 to 50 ms here.
#[tokio::test(start_paused = true)]
async fn a_lock_that_was_released_early_is_taken_over_at_the_fourth_look() {
    let (fleet, mut waiting) = released_early().await;
    fleet.pass(ms(115)).await;
    assert!(!fleet.remote.is_locked(&place(1)) && !waiting.has_ended(), "not asked for yet");
    fleet.pass(ms(80)).await;
    assert!(fleet.remote.is_locked(&place(1)) || waiting.has_ended());
    fleet.pass(ms(30)).await;
    assert!(waiting.has_ended());
    assert_eq!((text(&waiting.end().await.unwrap()), fleet.outcome("taken_over")), (Some("a"), 1));
}

/// Who has released a lock before its time has loaded, as a rule: what it has shared is looked for some more times, but not for long.
#[tokio::test(start_paused = true)]
async fn what_comes_just_after_a_lock_was_released_spares_a_load() {
    for (comes, on_the_millisecond) in [(true, false), (false, false), (false, true)] {
        let (fleet, mut waiting) = released_early().await;
        let loads = fleet.database.loads();
        while !fleet.remote.is_locked(&place(1)) {
            fleet.pass(ms(1)).await;
        }
        assert!(!waiting.has_ended());
        if on_the_millisecond {
            // The last look but one falls on the very end of the while.
            fleet.pass(ms(20)).await;
            assert!(!waiting.has_ended());
        } else {
            fleet.clock.advance(std::time::Duration::from_micros(500));
            fleet.pass(ms(8)).await;
            assert!(!waiting.has_ended(), "it looks again");
        }
        if comes {
            let digest = plan(shared()).digest();
            fleet.remote.plant(&place(1), aged_envelope(&fleet.nodes[1], digest, 0, 600_000));
            fleet.pass(ms(5)).await;
        } else {
            fleet.pass(ms(20)).await;
        }
        assert!(waiting.has_ended(), "comes: {comes}");
        let answer = waiting.end().await.unwrap();
        let expected = if comes { (Some("planted"), ServedBy::L2) } else { (Some("a"), ServedBy::Source) };
        assert_eq!((text(&answer), by(&answer)), expected);
        assert_eq!(fleet.database.loads() - loads, usize::from(!comes));
    }
}

/// Who comes meanwhile is to find the entry, not a lock that nobody holds.
#[tokio::test(start_paused = true)]
async fn a_lock_is_kept_after_its_load_until_the_entry_is_shared() {
    let fleet = fleet(1, shared).await;
    let token = fleet.database.commit(&[(1, Some("a"))]);
    assert_eq!(text(&fleet.nodes[0].get(1).await), Some("a"));
    fleet.nodes[0].turns().await;
    assert!(fleet.remote.held(&place(1)).is_none(), "the feed has not come so far");
    assert!(fleet.remote.is_locked(&place(1)));
    assert_eq!(fleet.nodes[0].cache.feed().wished(), token.position, "others wait for it");
    fleet.database.pump();
    fleet.nodes[0].turns().await;
    assert!(fleet.remote.held(&place(1)).is_some());
    assert!(!fleet.remote.is_locked(&place(1)));
}

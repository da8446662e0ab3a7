//! What a plan may ask and this version does not do is refused in the words of the plan.

use std::{num::NonZeroU32, sync::Arc};

use trueup_core::{
    cache::CacheBuilder,
    class::{ColdStart, Pattern},
    env::Clock,
};

use super::{
    source::{Database, Kind},
    world::{form, items, plan},
};

#[tokio::test(start_paused = true)]
async fn each_choice_is_named_as_it_was_written() {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let cache = CacheBuilder::new(Arc::clone(&database) as _).clock(clock).buckets(1 << 4).start();
    for (asked, refusal) in [
        (
            items().cold_start(ColdStart::Warm { keys_max: NonZeroU32::MIN }),
            "cold_start = \"warm\" is not supported yet; write `cold_start = \"empty\"`",
        ),
        (
            items()
                .pattern(Pattern::WriteBehind { loss: "counts".into() })
                .age_bounded("shop team", "counts are shown and nothing rests on them"),
            "pattern = \"write-behind\": only rows of a table, read by its primary key, can be written; choose `pattern = \
             \"write-through\"`",
        ),
    ] {
        let opened = cache.class::<i64, String>(plan(asked), form(), Arc::clone(&database) as _);
        assert_eq!(opened.err().unwrap().to_string(), format!("class `item`: {refusal}"));
    }
    let through = items().pattern(Pattern::WriteThrough);
    assert!(cache.class::<i64, String>(plan(through), form(), database as _).is_ok());
}

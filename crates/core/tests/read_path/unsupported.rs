//! What a plan may ask and a class's source cannot do is refused in the words of the plan.

use std::sync::Arc;

use trueup_core::{cache::CacheBuilder, class::Pattern, env::Clock};

use super::{
    source::{Database, Kind},
    world::{form, items, plan},
};

#[tokio::test(start_paused = true)]
async fn each_choice_is_named_as_it_was_written() {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let cache = CacheBuilder::new(Arc::clone(&database) as _).clock(clock).buckets(1 << 4).start();
    let behind = items()
        .pattern(Pattern::WriteBehind { loss: "counts".into() })
        .age_bounded("shop team", "counts are shown and nothing rests on them");
    let opened = cache.class::<i64, String>(plan(behind), form(), Arc::clone(&database) as _);
    assert_eq!(
        opened.err().unwrap().to_string(),
        "class `item`: pattern = \"write-behind\": only rows of a table, read by its primary key, can be written; choose \
         `pattern = \"write-through\"`"
    );
    let through = items().pattern(Pattern::WriteThrough);
    assert!(cache.class::<i64, String>(plan(through), form(), database as _).is_ok());
}

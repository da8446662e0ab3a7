//! What a plan may ask and this version does not do is refused in the words of the plan.

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
    let asked = items().pattern(Pattern::WriteThrough);
    let opened = cache.class::<i64, String>(plan(asked), form(), Arc::clone(&database) as _);
    assert_eq!(
        opened.err().unwrap().to_string(),
        "class `item`: pattern = \"write-through\" is not supported yet; write `pattern = \"read-through\"`"
    );
    assert!(cache.class::<i64, String>(plan(items()), form(), database as _).is_ok());
}

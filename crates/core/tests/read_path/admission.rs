//! Classes that keep only the keys that are asked for often enough.

use std::{num::NonZeroU32, sync::Arc};

use trueup_core::{
    class::{AdmissionPlan, ClassPlanBuilder},
    receipt::ServedBy,
};

use super::{
    source::Kind,
    world::{World, by, items, text},
};

fn choosy() -> ClassPlanBuilder {
    items().admission(AdmissionPlan { seen: 3, ..AdmissionPlan::new(NonZeroU32::new(KEYS).unwrap()) })
}

const KEYS: u32 = 20;

impl World {
    /// A class that keeps some keys only, and has no room for more.
    async fn full() -> Self {
        let world = Self::new(Kind::Sequence, choosy()).await;
        for key in 1_000..1_100 {
            world.get(key).await;
        }
        assert!(!world.items.memory().has_room() && world.items.memory().len() <= KEYS as usize);
        world
    }

    fn holds(&self, key: i64) -> bool {
        self.items.peek(&key).unwrap().is_some()
    }
}

fn not_admitted(world: &World) -> u64 {
    let rejected = world.items.stats().counts().rejected;
    rejected.iter().find(|(reason, _)| *reason == "admission").unwrap().1
}

#[tokio::test(start_paused = true)]
async fn a_key_is_kept_once_it_was_asked_for_often_enough() {
    let world = World::full().await;
    world.write(1, "a");
    let (loads, refused) = (world.database.loads(), not_admitted(&world));
    for asked in 1..=3 {
        let answer = world.get(1).await;
        assert_eq!((text(&answer), by(&answer)), (Some("a"), ServedBy::Source), "{asked}");
        assert_eq!(world.holds(1), asked == 3, "{asked}");
    }
    assert_eq!(by(&world.get(1).await), ServedBy::L1);
    assert_eq!(not_admitted(&world), refused + 2);
    assert_eq!(world.database.loads(), loads + 3);
}

#[tokio::test(start_paused = true)]
async fn while_there_is_room_every_key_is_kept() {
    let world = World::new(Kind::Sequence, choosy()).await;
    for key in 0..5 {
        world.get(key).await;
        assert!(world.holds(key));
    }
    assert_eq!(not_admitted(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn readers_of_a_key_that_is_not_kept_share_one_load() {
    let world = World::full().await;
    world.write(1, "a");
    let loads = world.database.loads();
    world.database.close_gate();
    let reads: Vec<_> = (0..2).map(|_| world.start_get(1)).collect();
    world.turns().await;
    world.database.open_gate();
    for read in reads {
        assert_eq!(text(&read.end().await.unwrap()), Some("a"));
    }
    assert_eq!((world.database.loads() - loads, world.holds(1)), (1, false));
}

#[tokio::test(start_paused = true)]
async fn no_more_keys_are_kept_than_the_plan_says() {
    let world = World::new(Kind::Sequence, choosy()).await;
    for key in 0..400 {
        world.write(key, "a");
        for _ in 0..4 {
            world.get(key).await;
        }
    }
    let held = world.items.memory().len();
    assert!((10..=KEYS as usize).contains(&held), "{held}");
}

#[tokio::test(start_paused = true)]
async fn hot_keys_are_kept_at_once_and_their_list_is_read_with_the_class() {
    let world = World::usual().await;
    let folder = std::env::temp_dir().join(format!("trueup-hot-keys-{}", std::process::id()));
    std::fs::write(&folder, "# hot\n12\t7\n8*\n").unwrap();
    let open = |path: &std::path::Path| {
        let admission = AdmissionPlan {
            hot_keys: Some(path.to_owned()),
            ..AdmissionPlan::new(NonZeroU32::new(10).unwrap())
        };
        let plan = super::world::plan(items().admission(admission));
        world.cache.class::<i64, String>(plan, super::world::form(), Arc::clone(&world.database) as _)
    };
    let class = open(&folder).unwrap();
    for key in 1_000..1_050 {
        class.get(&key).await.unwrap();
    }
    for (key, kept) in [(7, true), (81, true), (9, false)] {
        class.get(&key).await.unwrap();
        assert_eq!(class.peek(&key).unwrap().is_some(), kept, "{key}");
    }
    std::fs::write(&folder, "*\n").unwrap();
    let why = open(&folder).err().unwrap().to_string();
    assert!(why.contains("hot_keys") && why.contains("line 1"), "{why}");
    std::fs::remove_file(&folder).unwrap();
    assert!(open(&folder).err().unwrap().to_string().contains("hot_keys"));
}

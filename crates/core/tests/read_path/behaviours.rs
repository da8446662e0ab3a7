//! What the test suites of other caches assert, where it holds here and no other test shows it; and that
//! `docs/behaviours.md` names tests that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use trueup_core::{
    env::Clock,
    proof::Tag,
    receipt::ServedBy,
    tier::testing::{Fault, RemoteDouble},
};

use super::{
    source::{Database, Kind, row_tag, wide_tag},
    world::{World, by, items, text},
};

/// Rows of the table in `docs/behaviours.md`.
const BEHAVIOURS: usize = 34;

struct Fleet {
    remote: Arc<RemoteDouble>,
    nodes: [World; 2],
}

async fn fleet() -> Fleet {
    let clock = Clock::stepped();
    let database = Database::new(Kind::Sequence, clock.clone());
    let remote = Arc::new(RemoteDouble::new(clock.clone(), 1));
    let node =
        || World::on(Arc::clone(&database), clock.clone(), items().l2(), Some(Arc::clone(&remote) as _));
    Fleet { nodes: [node().await, node().await], remote }
}

#[tokio::test(start_paused = true)]
async fn b19_a_newer_value_that_another_node_loaded_is_picked_up_without_a_load() {
    let Fleet { nodes: [a, b], .. } = fleet().await;
    a.write(1, "old");
    a.get(1).await;
    a.turns().await;
    assert_eq!(text(&b.get(1).await), Some("old"));
    a.write(1, "new");
    a.get(1).await;
    a.turns().await;
    let answer = b.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("new"), ServedBy::L2));
    assert_eq!(a.database.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn b25_an_answer_lends_its_value_and_a_changed_copy_changes_nothing() {
    let world = World::usual().await;
    world.write(1, "a");
    let mut copy = world.get(1).await.value().unwrap().clone();
    copy.push_str(" changed");
    assert_eq!(text(&world.get(1).await), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn b41_a_write_ends_the_copies_of_every_node() {
    let Fleet { nodes, .. } = fleet().await;
    nodes[0].write(1, "a");
    for node in &nodes {
        node.get(1).await;
    }
    nodes[0].write(1, "b");
    for node in &nodes {
        assert!(node.items.peek(&1).unwrap().is_none());
        assert_eq!(text(&node.get(1).await), Some("b"));
    }
}

#[tokio::test(start_paused = true)]
async fn b43_an_invalidation_reaches_every_node_while_the_remote_tier_fails() {
    let Fleet { nodes, remote } = fleet().await;
    nodes[0].write(1, "a");
    for node in &nodes {
        node.get(1).await;
        node.turns().await;
    }
    remote.script([Some(Fault::Unavailable); 8]);
    nodes[0].cache.invalidate(&[row_tag(1)]).await.unwrap();
    nodes[0].database.pump();
    for node in &nodes {
        assert!(node.items.peek(&1).unwrap().is_none());
        assert_eq!(by(&node.get(1).await), ServedBy::Source);
    }
}

#[tokio::test(start_paused = true)]
async fn b45_a_failed_write_to_the_remote_tier_leaves_no_node_behind() {
    let Fleet { nodes: [a, b], remote } = fleet().await;
    a.write(1, "old");
    a.get(1).await;
    a.turns().await;
    b.get(1).await;
    a.write(1, "new");
    remote.script([None, Some(Fault::Unavailable)]);
    assert_eq!(text(&a.get(1).await), Some("new"), "a load is not held up by it");
    a.turns().await;
    assert_eq!(a.cache.remote_counts().unwrap().errors, 1);
    let answer = b.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("new"), ServedBy::Source), "the old envelope is a miss");
}

#[tokio::test(start_paused = true)]
async fn b53_a_tag_ends_all_its_entries_on_every_node_and_no_others() {
    let Fleet { nodes, .. } = fleet().await;
    let spring = Tag::named("promotion:spring");
    for key in [1, 2, 3] {
        nodes[0].write(key, "x");
    }
    nodes[0].database.label(1, spring);
    nodes[0].database.label(2, spring);
    for node in &nodes {
        node.items.get_many(&[1, 2, 3]).await.unwrap();
        node.turns().await;
    }
    nodes[0].cache.invalidate(&[spring]).await.unwrap();
    nodes[0].database.pump();
    let held = |node: &World| [1, 2, 3].map(|key| node.items.peek(&key).unwrap().is_some());
    for node in &nodes {
        assert_eq!(held(node), [false, false, true]);
        node.items.get_many(&[1, 2, 3]).await.unwrap();
        node.turns().await;
    }
    nodes[0].cache.invalidate(&[spring, wide_tag()]).await.unwrap();
    nodes[0].database.pump();
    assert!(nodes.iter().all(|node| held(node) == [false; 3]), "several tags at once");
}

#[tokio::test(start_paused = true)]
async fn b55_an_entry_follows_the_tags_of_its_last_load() {
    let world = World::usual().await;
    let [spring, summer] = ["spring", "summer"].map(Tag::named);
    world.write(1, "a");
    world.database.label(1, spring);
    world.get(1).await;
    world.database.label(1, summer);
    world.write(1, "b");
    world.get(1).await;
    world.cache.invalidate(&[spring]).await.unwrap();
    world.database.pump();
    assert_eq!(by(&world.get(1).await), ServedBy::L1, "no longer of spring");
    world.cache.invalidate(&[summer]).await.unwrap();
    world.database.pump();
    assert_eq!(by(&world.get(1).await), ServedBy::Source);
}

#[tokio::test(start_paused = true)]
async fn b67_what_was_rolled_back_leaves_nothing() {
    let world = World::new(Kind::Xids, items()).await;
    world.write(1, "a");
    world.get(1).await;
    let outer = world.database.commit_hidden(&[(1, Some("inner"))]);
    assert_eq!(text(&world.get(1).await), Some("a"));
    world.database.roll_back(outer);
    world.database.pump();
    let answer = world.get(1).await;
    assert_eq!((text(&answer), by(&answer)), (Some("a"), ServedBy::L1));
    assert_eq!(world.database.loads(), 1);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Names of all functions under `folder`, those of its folders included.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let names = source.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_behaviour_is_decided_and_names_tests_that_exist() {
    let table = fs::read_to_string(root().join("docs/behaviours.md")).unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| B")).collect();
    let ids: BTreeSet<&str> = rows.iter().filter_map(|row| row.split('|').nth(1)).map(str::trim).collect();
    assert_eq!((rows.len(), ids.len()), (BEHAVIOURS, BEHAVIOURS));
    let mut tests = BTreeSet::new();
    functions(&root().join("crates"), &mut tests);
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (decision, named) = (cells[3], cells[5]);
        assert!(["holds", "later", "otherwise"].contains(&decision), "{row}");
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert!(decision != "holds" || !named.is_empty(), "no test is named: {row}");
        assert!(decision != "later" || row.contains("not yet: "), "what is missing is not said: {row}");
        for name in named {
            assert!(tests.contains(name), "no test of this name: {name}");
        }
    }
}

//! Two people edit the same page. Each saves the whole of it, and the second does not know of the first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use trueup::{Class, Token};
use trueup_core::env::Clock;

use super::{
    Figure, Outcome, Setup, Way, crowd::together, node::Node, series::Ticks, shelf::Shelf, shop::Shop,
};
use crate::world::LabError;

/// Each edits a field of its own of the same page.
const EDITORS: usize = 4;
const EDITS: usize = 25;
/// What an editor takes to change a field.
const THINKING: Duration = Duration::from_millis(5);
const LIFE: Duration = Duration::from_secs(300);
const STEP: Duration = Duration::from_millis(100);
const SELECT: &str = "SELECT fields, version FROM page WHERE id = 1";

/// The fields as text, separated by spaces; and how often the page was saved.
#[derive(Clone, Serialize, Deserialize)]
struct Page {
    fields: String,
    version: i64,
}

enum Cache {
    Naive(Shelf<(String, i64)>),
    Trueup { node: Node, pages: Class<i64, Page>, compares: bool },
}

struct World {
    shop: Shop,
    cache: Cache,
    conflicts: AtomicU64,
    lost: Ticks,
}

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let empty = ["0"; EDITORS].join(" ");
    let schema = format!(
        "CREATE TABLE page (id BIGINT NOT NULL PRIMARY KEY, fields TEXT NOT NULL, version BIGINT NOT NULL); \
         INSERT INTO page VALUES (1, '{empty}', 0)"
    );
    let shop = Shop::open(&setup, &schema).await?;
    let cache = if way == Way::Naive {
        Cache::Naive(Shelf::open(&setup).await?)
    } else {
        let node = shop.trueup("[class.page]\ntable = \"page\"\nkey = [\"id\"]\n").await?;
        let pages = node.class("page")?;
        Cache::Trueup { node, pages, compares: way == Way::Protected }
    };
    let lost = Ticks::start(&Clock::system(), STEP);
    let world = Arc::new(World { shop, cache, conflicts: AtomicU64::new(0), lost });
    let edits = setup.scaled(EDITS);
    together(EDITORS, |editor| {
        let world = Arc::clone(&world);
        async move { world.edit_on(editor, edits).await }
    })
    .await?;
    if let Cache::Trueup { node, .. } = &world.cache {
        node.shut_down().await;
    }
    let fields: Option<String> = world.shop.now("SELECT fields FROM page WHERE id = 1", ()).await?;
    let there: u64 = numbers(&fields.unwrap_or_default()).iter().sum();
    let saved = (EDITORS * edits) as u64;
    Ok(Outcome::new(
        there == saved,
        [
            Figure::count("edits that were told to be saved", saved),
            Figure::count("of them lost", saved.saturating_sub(there)),
            Figure::count(
                "saves refused because the page had moved, and made again",
                world.conflicts.load(Ordering::Relaxed),
            ),
        ],
    )
    .over_time([world.lost.sum("edits that an editor does not find again", "in all")]))
}

fn numbers(fields: &str) -> Vec<u64> {
    fields.split(' ').filter_map(|field| field.parse().ok()).collect()
}

impl World {
    async fn edit_on(&self, editor: usize, edits: usize) -> Result<(), LabError> {
        let (mut token, mut left_at) = (None, 0);
        for _ in 0..edits {
            loop {
                let (fields, version) = self.open(token).await?;
                let mut fields = numbers(&fields);
                let Some(own) = fields.get_mut(editor) else { return Ok(()) };
                self.lost.note(*own < left_at);
                *own += 1;
                let saved = *own;
                tokio::time::sleep(THINKING).await;
                let text = fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                let (is_saved, written) = self.save(&text, version).await?;
                token = written.or(token);
                if is_saved {
                    left_at = saved;
                    break;
                }
                self.conflicts.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn open(&self, token: Option<Token>) -> Result<(String, i64), LabError> {
        match &self.cache {
            Cache::Naive(shelf) => {
                if let Some(found) = shelf.get("1").await? {
                    return Ok(found);
                }
                let found: (String, i64) = self.shop.query(SELECT, ()).await?.unwrap_or_default();
                shelf.set("1", found.clone(), LIFE).await?;
                Ok(found)
            }
            Cache::Trueup { pages, .. } => {
                let read = pages.read(&1);
                let read = match token {
                    Some(token) => read.token(token),
                    None => read,
                };
                let page = read.run().await?;
                Ok(page.value().map(|page| (page.fields.clone(), page.version)).unwrap_or_default())
            }
        }
    }

    /// Whether the page was saved, and the token of that.
    async fn save(&self, fields: &str, version: i64) -> Result<(bool, Option<Token>), LabError> {
        const SAVE: &str = "UPDATE page SET fields = ?1, version = version + 1 WHERE id = 1";
        match &self.cache {
            Cache::Naive(shelf) => {
                self.shop.execute(SAVE, [fields]).await?;
                shelf.delete("1").await?;
                Ok((true, None))
            }
            Cache::Trueup { node, pages, compares } => {
                let work = node.write(async |tx| {
                    // 409 where the page is no longer the one that was shown.
                    let page = tx.authoritative(pages, &1).await?;
                    if *compares && page.value().is_none_or(|page| page.version != version) {
                        return Ok(false);
                    }
                    tx.execute(SAVE, [fields]).await?;
                    Ok(true)
                });
                let (is_saved, token) = work.await?;
                Ok((is_saved, Some(token)))
            }
        }
    }
}

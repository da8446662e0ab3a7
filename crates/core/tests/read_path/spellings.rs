//! One product under 47 spellings of its query: what a normal form is worth, in hits and in memory.

use std::sync::Arc;

use trueup_core::{
    class::{ClassPlan, ClassPlanBuilder},
    entry::Raw,
    env::BoxFuture,
    key::{
        Collation, ColumnForm, IgnoredName, Key, KeyForm, KeyPieces, LetterCase, ParamForm, Parameter, Part,
        ValueRule,
    },
    proof::Tags,
    read::Class,
    receipt::ServedBy,
    source::{Catalogue, LoadError, Loaded, LoadedMany, Loader},
};

use super::{
    source::{Database, Kind},
    world::{World, secs},
};

const PRODUCTS: usize = 20;
const ROUNDS: usize = 3;
/// What a product's page weighs.
const PAGE_BYTES: usize = 2_000;

/// Pages that nothing but their age ends.
struct Pages(Arc<Database>);

impl Pages {
    async fn page(&self) -> Result<Loaded<Raw>, LoadError> {
        let row = Loader::load(&*self.0, &1).await?;
        Ok(Loaded { value: Some(Raw(vec![b'x'; PAGE_BYTES].into())), tags: Tags::new(), seen: row.seen })
    }
}

impl Loader<Key, Raw> for Pages {
    fn load<'a>(&'a self, _: &'a Key) -> BoxFuture<'a, Result<Loaded<Raw>, LoadError>> {
        Box::pin(self.page())
    }

    fn load_many<'a>(&'a self, _: &'a [Key]) -> BoxFuture<'a, Result<LoadedMany<Raw>, LoadError>> {
        Box::pin(async { Err(LoadError::Unfilled) })
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::default()
    }
}

fn pages(name: &str) -> ClassPlanBuilder {
    ClassPlan::display(name)
        .table("product")
        .key(["id"])
        .same_for_everyone()
        .age_bounded("the shop", "its index tells nobody")
        .life(secs(600))
        .jitter(0.0)
}

fn normal() -> KeyForm {
    KeyForm::parameters(ParamForm {
        parameters: vec![
            Parameter::new("product", ValueRule::Number).required(),
            Parameter::new("colour", ValueRule::search_text()),
            Parameter::new("in_stock", ValueRule::Boolean),
            Parameter::new("page", ValueRule::Number).default_value("1"),
        ],
        ignored: vec![IgnoredName::Exact("session".into())],
        names: LetterCase::Fold,
        ..ParamForm::default()
    })
    .unwrap()
}

/// 47 queries for one product: order, letter case, white space, `True` and `1`, and where the visitor came from.
fn spellings(product: usize) -> Vec<String> {
    let mut all = Vec::new();
    for number in [format!("product={product}"), format!("PRODUCT={product}.0")] {
        for colour in ["colour=red", "colour=Red", "colour=%20red", "colour=RED++"] {
            for stock in ["in_stock=true", "in_stock=True", "in_stock=1"] {
                all.push(format!("{number}&{colour}&{stock}"));
                all.push(format!("{stock}&utm_source=mail&{colour}&session=7&{number}&page=1"));
            }
        }
    }
    all.truncate(47);
    all
}

/// Reads every spelling of every product some times. Hits of how many reads, and entries and bytes in memory.
async fn shown(
    world: &World,
    class: &Class<Key, Raw>,
    key: impl Fn(&str) -> Key,
) -> (u64, u64, usize, usize) {
    let mut reads = 0;
    for _ in 0..ROUNDS {
        for text in (0..PRODUCTS).flat_map(spellings) {
            assert!(!class.read_canonical(&key(&text)).run().await.unwrap().is_absent());
            reads += 1;
        }
    }
    world.turns().await;
    let served = class.stats().counts().served;
    let hits = served.iter().find(|(by, _)| *by == ServedBy::L1).unwrap().1;
    (hits, reads, class.memory().len(), class.memory().weight())
}

#[tokio::test(start_paused = true)]
async fn forty_seven_spellings_are_one_entry_and_the_memory_of_one() {
    let world = World::new(Kind::Sequence, super::world::items()).await;
    world.write(1, "there");
    let whole = KeyForm::columns([Part::new("query", ColumnForm::Text(Collation::Binary))]).unwrap();
    let open = |name: &str, form: &KeyForm| {
        let source = Arc::new(Pages(Arc::clone(&world.database)));
        let plan = super::world::plan(pages(name));
        world.cache.class_by_text::<Raw>(plan, form.clone(), source as _).unwrap()
    };
    let (before, after) = (open("before", &whole), open("after", &normal()));
    let as_written = |text: &str| whole.assemble(&[], KeyPieces::Parts(&[text])).unwrap();
    let (hits, reads, entries, bytes) = shown(&world, &before, as_written).await;
    let (hits_after, _, entries_after, bytes_after) =
        shown(&world, &after, |text| normal().parse(text).unwrap()).await;
    let share = |hits: u64| 100.0 * hits as f64 / reads as f64;
    println!("the query as it was written: {:.1} % hits, {entries} entries, {bytes} bytes", share(hits));
    println!(
        "one normal form: {:.1} % hits, {entries_after} entries, {bytes_after} bytes",
        share(hits_after)
    );
    assert_eq!((entries, entries_after), (47 * PRODUCTS, PRODUCTS));
    assert!(bytes_after * 40 <= bytes, "{bytes_after} of {bytes} bytes");
    assert_eq!((hits, hits_after), (reads - 47 * PRODUCTS as u64, reads - PRODUCTS as u64));
}

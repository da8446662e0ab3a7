//! One product under 47 keys: order of parameters, letter case, white space, `True` and `1`, and where the visitor came from.

use std::collections::{BTreeMap, HashMap, HashSet};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rand_distr::Distribution as _;
use trueup::Plan;

use super::{Figure, Outcome, Series, Setup, Way};
use crate::world::LabError;

const PRODUCTS: u32 = 300;
const REQUESTS: usize = 40_000;
/// Entries that the cache has room for: each product once, and half as many again.
const ROOM: usize = 450;

/// Requests of one step of the picture.
const STEP: usize = 1_000;
pub(super) const HITS: &str = "hits, with room for 450 entries";
pub(super) const ENTRIES: &str = "entries of all, were there room for them";

/// The normal form of the class: what a parameter may be, and which say nothing of the product.
const PLAN: &str = r#"
[class.search]
origin = "external"
scope = []
invalidation = { owner = "the shop", reason = "an index that tells nobody of its changes" }
life = "10min"

[class.search.key]
ignore = ["utm_*", "session"]

[class.search.key.parameters]
product = { type = "number" }
colour = { case = "lower" }
in_stock = { type = "boolean", default = false }
page = { type = "number", default = 1 }
"#;

pub(super) async fn run(setup: Setup, way: Way) -> Result<Outcome, LabError> {
    let plan = Plan::parse("incident", PLAN, &[]).map_err(|why| LabError::failed("the plan", why))?;
    let class = plan.class("search").map_err(|why| LabError::failed("the class", why))?;
    let form = trueup::catalog::key_form(class, |_| None).map_err(|why| LabError::failed("its keys", why))?;
    let name = |spelled: &str| match way {
        Way::Protected => form
            .parse(spelled)
            .map(|key| key.as_str().to_owned())
            .map_err(|why| LabError::failed(spelled, why)),
        Way::Naive | Way::Unprotected => Ok(spelled.to_owned()),
    };
    let mut dice = StdRng::seed_from_u64(setup.seed);
    let ranks =
        rand_distr::Zipf::new(f64::from(PRODUCTS), 0.8).map_err(|why| LabError::failed("the load", why))?;
    let requests = setup.scaled(REQUESTS);
    let (mut kept, mut hits, mut of_one) = (Lru::new(ROOM), 0_u64, HashSet::new());
    let (mut all, mut hits_of_step, mut shares) = (HashSet::new(), 0_u32, Vec::new());
    for number in 1..=requests {
        let product = ranks.sample(&mut dice) as u32;
        let key = name(&spelling(product, &mut dice))?;
        if product == 1 {
            of_one.insert(key.clone());
        }
        let is_hit = kept.ask(&key);
        hits += u64::from(is_hit);
        hits_of_step += u32::from(is_hit);
        if number % STEP == 0 {
            shares.push(f64::from(std::mem::take(&mut hits_of_step)) * 100.0 / STEP as f64);
        }
        all.insert(key);
    }
    let share = hits as f64 / requests as f64;
    Ok(Outcome::new(
        of_one.len() == 1 && share > 0.8,
        [
            Figure::count("keys of the one product that is asked for most", of_one.len()),
            Figure::share(HITS, hits, requests as u64),
            Figure::count(ENTRIES, all.len()),
        ],
    )
    .over_time([Series::over_requests("hits", "% of 1,000 requests", STEP, shares)]))
}

/// One of the spellings in which a request for the product comes.
fn spelling(product: u32, dice: &mut StdRng) -> String {
    let pick = |dice: &mut StdRng, of: &[&str]| of[dice.random_range(0..of.len())].to_owned();
    let number = match dice.random_range(0..3) {
        0 => format!("product={product}"),
        1 => format!("product=0{product}"),
        _ => format!("product={product}.0"),
    };
    let mut parts = vec![
        number,
        format!("colour={}", pick(dice, &["red", "Red", "RED", "%20red"])),
        format!("in_stock={}", pick(dice, &["true", "True", "1"])),
    ];
    if dice.random_bool(0.3) {
        parts.push("page=1".to_owned());
    }
    if dice.random_bool(0.3) {
        parts.push(format!("utm_source={}", pick(dice, &["mail", "ad", "feed"])));
    }
    if dice.random_bool(0.5) {
        parts.reverse();
    }
    parts.join("&")
}

/// The cache of both sides: only the names differ.
struct Lru {
    room: usize,
    turn: u64,
    kept: HashMap<String, u64>,
    oldest: BTreeMap<u64, String>,
}

impl Lru {
    fn new(room: usize) -> Self {
        Self { room, turn: 0, kept: HashMap::default(), oldest: Default::default() }
    }

    /// Whether `key` is there; it is, afterwards.
    fn ask(&mut self, key: &str) -> bool {
        self.turn += 1;
        let before = self.kept.insert(key.to_owned(), self.turn);
        before.map(|turn| self.oldest.remove(&turn));
        self.oldest.insert(self.turn, key.to_owned());
        if self.kept.len() > self.room
            && let Some((_, key)) = self.oldest.pop_first()
        {
            self.kept.remove(&key);
        }
        before.is_some()
    }
}

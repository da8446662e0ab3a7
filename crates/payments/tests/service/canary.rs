//! What is never cached is found in no tier: codes, balances that decide, statuses of payments under way.

use payments::cache::Shown;
use serde_json::json;
use trueup::TrueupError;

use crate::support::{ANN, World, charge_of, id, on_both, transfer_of};

on_both! {
    what_is_never_cached_has_no_class_that_could
}

const NEVER: [&str; 4] = ["wallet", "charge", "giving_back", "code"];

async fn what_is_never_cached_has_no_class_that_could(world: World) {
    for name in NEVER {
        let refused = world.app.shown().cached(name).err().unwrap();
        assert!(matches!(refused, TrueupError::Plan(_)), "{name}: {refused}");
    }
    // Nor are their tables offered without a plan.
    for table in ["payment", "refund", "challenge"] {
        let refused = world.app.shown().cached(table).err().unwrap();
        assert!(matches!(refused, TrueupError::UnknownClass(_)), "{table}: {refused}");
    }
    world.end().await;
}

/// Numbers and words that stand in rows of classes that are never cached, and in no others.
const CANARY_AMOUNT: i64 = 7_654_321;
const CANARY_DECLINE: &str = "card_declined";

/// Everything that stands in memory, of all classes that could hold anything: key and value.
fn memory_of(shown: &Shown) -> String {
    let mut text = String::new();
    macro_rules! dump {
        ($($class:ident),+) => {$(
            shown.$class.memory().for_each(|entry| {
                let value = serde_json::to_string(&entry.value()).unwrap();
                text.push_str(&format!("{} {value}\n", entry.canonical_key().as_str()));
            });
        )+};
    }
    dump!(sessions, balances, kyc, fees, people);
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tier_holds_a_canary_after_a_full_run() {
    let redis =
        tokio::task::spawn_blocking(
            || trueup_testbed::Redis::start(&trueup_testbed::RedisOptions::default()),
        );
    let redis = redis.await.unwrap().unwrap();
    let world = World::postgres_with_legible(vec![redis.url()]).await;
    let mut codes = Vec::new();
    for _ in 0..3 {
        let challenge = id();
        assert_eq!(world.post("ann", "/challenges", &json!({"id": challenge})).await.status, 201);
        let text = std::fs::read_to_string(world.folder.path().join("codes.txt")).unwrap();
        let line = text.lines().find(|line| line.contains(&challenge)).unwrap();
        codes.push((challenge, line.rsplit_once(' ').unwrap().1.to_owned()));
    }
    let mut large = transfer_of(50_001);
    large["otp"] = json!({"challenge": codes[0].0, "code": codes[0].1});
    assert_eq!(world.post("ann", "/transfers", &large).await.status, 201);
    world.script(&["lose-reply", "decline"]).await;
    let under_way = charge_of(CANARY_AMOUNT);
    assert_eq!(world.post("ann", "/payments", &under_way).await.status, 202);
    let mut declined = charge_of(10);
    declined["card"] = json!("tok_declined");
    let declined_answer = world.post("ann", "/payments", &declined).await;
    assert!([201, 402].contains(&declined_answer.status));
    // Everything that can be looked at, twice: from the database and from the tiers.
    let account = format!("/accounts/{ANN}");
    let payment = format!("/payments/{}", under_way["id"].as_str().unwrap());
    for _ in 0..3 {
        let person = format!("/people/{}", crate::support::ANN_PERSON);
        for path in [&account, &payment, &"/fees/charge/EUR".to_owned(), &person] {
            assert_eq!(world.get("ann", path).await.status, 200);
        }
    }
    world.rest().await;
    let shown = world.app.shown();
    assert!(
        !shown.balances.memory().is_empty() && !shown.sessions.memory().is_empty(),
        "there is something to look at"
    );
    // What stands in the remote tier can be read here, and what is to be there is.
    let dump = {
        let keys = redis.cli(&["--scan"]).unwrap();
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        assert!(!keys.is_empty(), "the remote tier was used");
        keys.iter().map(|key| redis.cli(&["--raw", "GET", key]).unwrap_or_default()).collect::<String>()
    };
    let memory = memory_of(shown);
    for there in ["ann@example.org", "\"balance\"", "14000", "customer"] {
        assert!(dump.contains(there), "{there} is to be shown, and stands in the remote tier");
        assert!(memory.contains(there), "{there} is to be shown, and stands in memory");
    }
    for (challenge, code) in &codes {
        for held in [&dump, &memory] {
            assert!(!held.contains(challenge.as_str()) && !held.contains(&format!("\"{code}\"")));
        }
    }
    for canary in [
        "code_hash",
        "attempts_left",
        "decline_code",
        "refunded_minor",
        CANARY_AMOUNT.to_string().as_str(),
        CANARY_DECLINE,
        under_way["id"].as_str().unwrap(),
        "intent",
    ] {
        assert!(!dump.contains(canary), "{canary} stands in the remote tier");
        assert!(!memory.contains(canary), "{canary} stands in memory");
    }
    world.end().await;
}

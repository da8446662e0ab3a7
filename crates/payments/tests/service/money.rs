//! Money that no race and no fault spends twice.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{ANN, BEN, OPENING, World, charge_of, id, on_both, transfer_of};

on_both! {
    of_64_debits_exactly_the_covered_ones_succeed
    of_two_refunds_of_60_on_100_one_succeeds
    whatever_the_gateway_does_a_card_is_charged_once
    a_declined_card_leaves_nothing
    a_declined_refund_releases_what_was_held
    a_webhook_before_the_reply_settles_once
    transfers_both_ways_at_once_end
    settlement_pays_once
    each_message_is_told_once
}

const CLIENTS: i64 = 64;
const LOOKERS: usize = 4;

async fn of_64_debits_exactly_the_covered_ones_succeed(world: World) {
    world.run("UPDATE tenant SET otp_from = NULL").await;
    let each = OPENING / (CLIENTS / 2);
    let path = format!("/accounts/{ANN}");
    let stop = tokio_util::sync::CancellationToken::new();
    let debits = async {
        let debit = |_| async { world.post("ann", "/transfers", &transfer_of(each)).await };
        let answers = join_all((0..CLIENTS).map(debit)).await;
        stop.cancel();
        answers
    };
    // Meanwhile the same wallet is looked at by four, as fast as it goes.
    let look = |_| async {
        let mut seen = Vec::new();
        while !stop.is_cancelled() {
            let answer = world.get("ann", &path).await;
            let hit = answer.header("cache-status").starts_with("trueup; hit");
            seen.push((answer.json()["balance"].as_i64().unwrap(), hit));
        }
        seen
    };
    let looks = async { join_all((0..LOOKERS).map(look)).await.into_iter().flatten().collect::<Vec<_>>() };
    let (answers, seen) = tokio::join!(debits, looks);
    let made = answers.iter().filter(|answer| answer.status == 201).count() as i64;
    let declined = answers.iter().filter(|answer| answer.status == 402).count() as i64;
    // A database that has others waiting for too long says so, and nothing is done then.
    let busy: Vec<_> = answers.iter().filter(|answer| ![201, 402].contains(&answer.status)).collect();
    assert!(busy.is_empty(), "{busy:?}");
    assert_eq!((made, declined), (OPENING / each, CLIENTS - OPENING / each));
    assert_eq!(world.balance(ANN).await, OPENING - made * each);
    assert_eq!(world.balance(BEN).await, OPENING + made * each);
    // What was shown is always what some commit left, and some of it came from memory.
    let left = |balance: &i64| (0..=OPENING).contains(balance) && (OPENING - balance) % each == 0;
    assert!(seen.iter().all(|(balance, _)| left(balance)), "{seen:?}");
    assert!(seen.iter().any(|(_, hit)| *hit), "the looks went through the cache: {seen:?}");
    world.end().await;
}

async fn of_two_refunds_of_60_on_100_one_succeeds(world: World) {
    let charge = charge_of(100);
    assert_eq!(world.post("ann", "/payments", &charge).await.status, 201);
    let path = format!("/payments/{}/refunds", charge["id"].as_str().unwrap());
    let refund =
        || async { world.post("olga", &path, &json!({"id": id(), "amount": 60, "currency": "EUR"})).await };
    let (one, other) = tokio::join!(refund(), refund());
    let mut both = [(one.status, one), (other.status, other)];
    both.sort_by_key(|(status, _)| *status);
    assert_eq!(both[0].0, 201, "{both:?}");
    assert_eq!((both[1].0, both[1].1.problem().as_str()), (422, "refund-exceeds-payment"), "{both:?}");
    // The rest may be given back, and no more.
    let rest = |amount: i64| json!({"id": id(), "amount": amount, "currency": "EUR"});
    assert_eq!(world.post("olga", &path, &rest(41)).await.status, 422);
    assert_eq!(world.post("olga", &path, &rest(40)).await.status, 201);
    assert_eq!(world.post("olga", &path, &rest(1)).await.status, 422);
    assert_eq!(world.count("SELECT COUNT(*) FROM payment WHERE refunded_minor = minor").await, 1);
    world.end().await;
}

async fn whatever_the_gateway_does_a_card_is_charged_once(world: World) {
    for fault in [
        "none",
        "lose-request",
        "lose-reply",
        "hold-reply",
        "garbage",
        "fail",
        "webhook-first",
        "webhook-only",
    ] {
        world.script(&[fault]).await;
        let charge = charge_of(2_000);
        let answer = world.post("ann", "/payments", &charge).await;
        assert!([201, 202].contains(&answer.status), "{fault}: {answer:?}");
        world.rest().await;
        let payment = charge["id"].as_str().unwrap();
        let seen = world.get("ann", &format!("/payments/{payment}")).await.json();
        assert_eq!(
            (seen["state"].as_str().unwrap(), world.charges(payment).await),
            ("charged", 1),
            "{fault}"
        );
    }
    // 8 charges, less 1.4 % and 25 cents each.
    assert_eq!(world.balance(ANN).await, OPENING + 8 * (2_000 - 28 - 25));
    world.end().await;
}

async fn a_declined_card_leaves_nothing(world: World) {
    let mut charge = charge_of(2_000);
    charge["card"] = json!("tok_declined");
    let answer = world.post("ann", "/payments", &charge).await;
    assert_eq!((answer.status, answer.problem().as_str()), (402, "declined"));
    assert_eq!(answer.json()["code"], "card_declined");
    assert_eq!(world.balance(ANN).await, OPENING);
    let path = format!("/payments/{}", charge["id"].as_str().unwrap());
    assert_eq!(world.get("ann", &path).await.json()["state"], "declined");
    let refund = world
        .post("olga", &format!("{path}/refunds"), &json!({"id": id(), "amount": 1, "currency": "EUR"}))
        .await;
    assert_eq!(refund.problem(), "refund-exceeds-payment");
    world.end().await;
}

async fn a_declined_refund_releases_what_was_held(world: World) {
    let charge = charge_of(1_000);
    assert_eq!(world.post("ann", "/payments", &charge).await.status, 201);
    let before = world.balance(ANN).await;
    world.script(&["decline"]).await;
    let path = format!("/payments/{}/refunds", charge["id"].as_str().unwrap());
    let refund = json!({"id": id(), "amount": 400, "currency": "EUR"});
    let answer = world.post("olga", &path, &refund).await;
    assert_eq!((answer.status, answer.problem().as_str()), (402, "declined"));
    assert_eq!(world.balance(ANN).await, before);
    assert_eq!(world.count("SELECT refunded_minor FROM payment").await, 0);
    let again = json!({"id": id(), "amount": 1_000, "currency": "EUR"});
    assert_eq!(world.post("olga", &path, &again).await.status, 201, "all of it may be given back still");
    world.end().await;
}

async fn a_webhook_before_the_reply_settles_once(world: World) {
    world.script(&["webhook-first"]).await;
    let (key, charge) = (id(), charge_of(3_000));
    let ask = || world.ask("ann", "POST", "/payments").key(&key).json(&charge).send();
    let first = ask().await;
    assert!([201, 202].contains(&first.status), "{first:?}");
    world.rest().await;
    let again = ask().await;
    assert!([200, 201].contains(&again.status), "{again:?}");
    assert_eq!(again.json()["state"], "charged");
    assert_eq!(world.count("SELECT COUNT(*) FROM posting WHERE kind = 'charge'").await, 1);
    world.end().await;
}

async fn transfers_both_ways_at_once_end(world: World) {
    let there = |_| async { world.post("ann", "/transfers", &transfer_of(10)).await.status };
    let back = |_| async {
        let body = json!({"id": id(), "from": BEN, "to": ANN, "amount": 10, "currency": "EUR"});
        world.post("ben", "/transfers", &body).await.status
    };
    let (there, back) = tokio::join!(join_all((0..20).map(there)), join_all((0..20).map(back)));
    assert!(there.iter().chain(&back).all(|status| *status == 201), "{there:?} {back:?}");
    assert_eq!(world.balance(ANN).await, OPENING);
    world.end().await;
}

async fn settlement_pays_once(world: World) {
    use payments::service::{Settled, settle};
    let date = || "2026-11-26".parse().unwrap();
    let once = world.app.once();
    // Started together: one runs, the other walks away or finds it run.
    let (one, other) = tokio::join!(settle(once, date(), "one"), settle(once, date(), "other"));
    let both = [one.unwrap(), other.unwrap()];
    let ran = both.iter().filter(|settled| matches!(settled, Settled::Ran { posted: 2 })).count();
    assert_eq!(ran, 1, "{both:?}");
    // 50 millionths of 1,000.00.
    assert_eq!(world.balance(ANN).await, OPENING + 5);
    assert_eq!(settle(once, date(), "again").await.unwrap(), Settled::Finished);
    world.run("DELETE FROM once_job_runs").await;
    assert_eq!(
        settle(once, date(), "forgotten").await.unwrap(),
        Settled::Ran { posted: 0 },
        "a rerun changes nothing"
    );
    assert_eq!(world.balance(ANN).await, OPENING + 5);
    // What is shown follows, although nobody told the cache.
    let token = world.app.shown().token().await.unwrap().to_string();
    let seen =
        world.ask("ann", "GET", &format!("/accounts/{ANN}")).header("trueup-token", &token).send().await;
    assert_eq!(seen.json()["balance"], OPENING + 5);
    world.end().await;
}

async fn each_message_is_told_once(world: World) {
    for _ in 0..3 {
        assert_eq!(world.post("ann", "/transfers", &transfer_of(1)).await.status, 201);
    }
    assert_eq!(world.post("ann", "/payments", &charge_of(500)).await.status, 201);
    // 3 transfers, an intent and its outcome.
    for _ in 0..1_000 {
        if world.count("SELECT COUNT(*) FROM notice").await == 5 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM notice").await, 5);
    // Delivered again, as after a crash before the mark.
    world.run("UPDATE once_outbox SET published_ms = NULL").await;
    for _ in 0..1_000 {
        if world.count("SELECT COUNT(*) FROM once_outbox WHERE published_ms IS NULL").await == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM once_outbox WHERE published_ms IS NULL").await, 0);
    assert_eq!(world.count("SELECT COUNT(*) FROM notice").await, 5);
    world.end().await;
}

//! Standing orders: recorded once, carried out once in each month.

use payments::service::{Executed, execute};
use serde_json::{Value as Json, json};

use crate::support::{ANN, BEN, OPENING, World, id, on_both};

on_both! {
    an_order_is_carried_out_once_a_month
    of_two_runs_at_once_one_carries_out
    what_cannot_be_paid_is_declined_and_told
    who_may_order_is_decided_when_it_is_ordered
    an_order_that_was_ended_moves_nothing
    a_large_order_takes_a_code
}

fn order_of(amount: i64, day: u8) -> Json {
    json!({"id": id(), "from": ANN, "to": BEN, "amount": amount, "currency": "EUR", "day": day, "first_month": "2026-01", "note": "rent"})
}

async fn run(world: &World, date: &str) -> Executed {
    execute(world.app.once(), date.parse().unwrap(), "test").await.unwrap()
}

const fn ran(made: u64, declined: u64) -> Executed {
    Executed::Ran { made, declined }
}

async fn an_order_is_carried_out_once_a_month(world: World) {
    let order = order_of(1_000, 31);
    let created = world.post("ann", "/standing-orders", &order).await;
    assert_eq!(created.status, 201, "{created:?}");
    let path = format!("/standing-orders/{}", order["id"].as_str().unwrap());
    assert_eq!(created.header("location"), path);
    // Another key, the same order: how it stands.
    let again = world.post("ann", "/standing-orders", &order).await;
    assert_eq!((again.status, &again.json()), (200, &created.json()));
    assert_eq!(run(&world, "2025-12-31").await, ran(0, 0), "before its first month");
    assert_eq!(run(&world, "2026-01-30").await, ran(0, 0), "before its day");
    assert_eq!(run(&world, "2026-01-31").await, ran(1, 0));
    assert_eq!(run(&world, "2026-01-31").await, Executed::Finished);
    assert_eq!(run(&world, "2026-02-27").await, ran(0, 0));
    assert_eq!(run(&world, "2026-02-28").await, ran(1, 0), "the last day of a shorter month");
    world.run("DELETE FROM once_job_runs").await;
    for date in ["2026-01-31", "2026-02-28"] {
        assert_eq!(run(&world, date).await, ran(0, 0), "a rerun changes nothing");
    }
    assert_eq!((world.balance(ANN).await, world.balance(BEN).await), (OPENING - 2_000, OPENING + 2_000));
    let seen = world.get("ann", &format!("{path}/executions")).await.json();
    let months: Vec<_> = seen["executions"].as_array().unwrap().iter().map(|one| &one["month"]).collect();
    assert_eq!(months, ["2026-02", "2026-01"]);
    assert!(seen["executions"].as_array().unwrap().iter().all(|one| one["state"] == "executed"));
    // A month that was missed on its day is made up for on a later one.
    assert_eq!(run(&world, "2026-04-30").await, ran(1, 0));
    world.end().await;
}

async fn of_two_runs_at_once_one_carries_out(world: World) {
    for _ in 0..120 {
        assert_eq!(world.post("ann", "/standing-orders", &order_of(1, 1)).await.status, 201);
    }
    let once = world.app.once();
    let date = || "2026-05-01".parse().unwrap();
    let (one, other) = tokio::join!(execute(once, date(), "one"), execute(once, date(), "other"));
    let both = [one.unwrap(), other.unwrap()];
    assert_eq!(both.iter().filter(|one| **one == ran(120, 0)).count(), 1, "{both:?}");
    assert_eq!(world.balance(ANN).await, OPENING - 120);
    assert_eq!(world.count("SELECT COUNT(*) FROM posting WHERE kind = 'standing-order'").await, 120);
    world.end().await;
}

async fn what_cannot_be_paid_is_declined_and_told(world: World) {
    let poor = order_of(40_000, 1);
    for order in [&poor, &order_of(40_000, 1), &order_of(40_000, 1)] {
        assert_eq!(world.post("ann", "/standing-orders", order).await.status, 201);
    }
    assert_eq!(run(&world, "2026-03-01").await, ran(2, 1), "two are covered");
    assert_eq!(world.balance(ANN).await, OPENING - 80_000);
    let declined = world
        .count("SELECT COUNT(*) FROM standing_execution WHERE decline_code = 'insufficient-funds'")
        .await;
    assert_eq!(declined, 1);
    // It is an outcome: not tried again in this month.
    assert_eq!(run(&world, "2026-03-02").await, ran(0, 0));
    for _ in 0..1_000 {
        if world.count("SELECT COUNT(*) FROM notice WHERE topic LIKE 'standing-order.%'").await == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(world.count("SELECT COUNT(*) FROM notice WHERE topic = 'standing-order.declined'").await, 1);
    world.end().await;
}

async fn who_may_order_is_decided_when_it_is_ordered(world: World) {
    let of_ben = json!({"id": id(), "from": BEN, "to": ANN, "amount": 5, "currency": "EUR", "day": 1, "first_month": "2026-01"});
    let foreign = world.post("ann", "/standing-orders", &of_ben).await;
    assert_eq!((foreign.status, foreign.problem().as_str()), (404, "unknown-account"));
    let mut nowhere = order_of(5, 1);
    nowhere["to"] = json!(id());
    assert_eq!(world.post("ann", "/standing-orders", &nowhere).await.problem(), "unknown-account");
    assert_eq!(world.post("otto", "/standing-orders", &order_of(5, 1)).await.status, 403);
    for (member, value) in [
        ("day", json!(0)),
        ("day", json!(32)),
        ("first_month", json!("2026-13")),
        ("amount", json!(-1)),
        ("to", json!(ANN)),
    ] {
        let mut wrong = order_of(5, 1);
        wrong[member] = value;
        assert_eq!(world.post("ann", "/standing-orders", &wrong).await.status, 400, "{wrong}");
    }
    let order = order_of(5, 1);
    assert_eq!(world.post("ann", "/standing-orders", &order).await.status, 201);
    let path = format!("/standing-orders/{}", order["id"].as_str().unwrap());
    assert_eq!(world.get("ben", &path).await.status, 404, "it is ann's");
    assert_eq!(world.get("ben", &format!("{path}/executions")).await.status, 404);
    assert_eq!(world.get("olga", &path).await.status, 200);
    // Who lost their status meanwhile pays nothing.
    world.run("UPDATE kyc SET status = 'rejected', version = version + 1").await;
    assert_eq!(run(&world, "2026-03-01").await, ran(0, 1));
    assert_eq!(world.balance(ANN).await, OPENING);
    world.end().await;
}

async fn an_order_that_was_ended_moves_nothing(world: World) {
    let order = order_of(5, 1);
    assert_eq!(world.post("ann", "/standing-orders", &order).await.status, 201);
    let path = format!("/standing-orders/{}", order["id"].as_str().unwrap());
    let change = |who: &'static str, version: &'static str| {
        world
            .ask(who, "PATCH", &path)
            .key(&id())
            .header("if-match", version)
            .json(&json!({"status": "ended"}))
            .send()
    };
    let missing = world.ask("ann", "PATCH", &path).key(&id()).json(&json!({"status": "ended"})).send().await;
    assert_eq!(missing.status, 428);
    assert_eq!(change("ann", "\"7\"").await.status, 412);
    assert_eq!(change("ben", "\"1\"").await.status, 404);
    let ended = change("ann", "\"1\"").await;
    assert_eq!(
        (ended.status, ended.json()["status"].as_str(), ended.header("etag")),
        (200, Some("ended"), "\"2\"")
    );
    assert_eq!(run(&world, "2026-03-01").await, ran(0, 0));
    assert_eq!(world.balance(ANN).await, OPENING);
    world.end().await;
}

async fn a_large_order_takes_a_code(world: World) {
    let order = order_of(50_000, 1);
    let refused = world.post("ann", "/standing-orders", &order).await;
    assert_eq!((refused.status, refused.problem().as_str()), (403, "otp-required"));
    let challenge = id();
    assert_eq!(world.post("ann", "/challenges", &json!({"id": challenge})).await.status, 201);
    let text = std::fs::read_to_string(world.folder.path().join("codes.txt")).unwrap();
    let line = text.lines().find(|line| line.contains(&challenge)).unwrap();
    let mut with_code = order.clone();
    with_code["otp"] = json!({"challenge": challenge, "code": line.rsplit_once(' ').unwrap().1});
    assert_eq!(world.post("ann", "/standing-orders", &with_code).await.status, 201);
    assert_eq!(world.count("SELECT COUNT(*) FROM challenge WHERE used_ms IS NOT NULL").await, 1);
    world.end().await;
}

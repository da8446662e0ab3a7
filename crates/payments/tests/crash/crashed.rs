//! One effect under way when the process dies, or stands still; and what must hold afterwards.

use std::{process::Command, time::Duration};

use serde_json::{Value as Json, json};
use trueup_testbed::{free_port, spawn};

use crate::{
    ask::{Answer, ask},
    support::{ANN, BEN, OPENING, World, eventually, id, local, until_stopped},
};

/// Who wakes late tells what the other did; or, if the time of its request ran out while it stood still, that the same key will.
fn assert_tells_what_happened(woken: &Answer) {
    let told = [200, 201].contains(&woken.status);
    let late = woken.status == 503 && String::from_utf8_lossy(&woken.body).contains("with the same key");
    assert!(told || late, "{woken:?}");
}

/// What was asked of a service that died of it.
pub(crate) struct Crashed<'w> {
    world: Option<&'w mut World>,
    who: &'static str,
    path: String,
    key: String,
    body: Json,
    /// What the wallet is to have afterwards.
    balance: i64,
    posting: &'static str,
    /// References at the gateway.
    references: Vec<String>,
    replays: bool,
}

impl<'w> Crashed<'w> {
    fn new(who: &'static str, path: String, body: Json, balance: i64, posting: &'static str) -> Self {
        let references = vec![body["id"].as_str().unwrap().to_owned()];
        Self { world: None, who, path, key: id(), body, balance, posting, references, replays: true }
    }

    fn ask(&self, world: &World) -> Option<Answer> {
        world.ask(self.who, "POST", &self.path, &self.key, Some(&self.body))
    }

    fn crash(self, world: &'w mut World, point: &str) -> Self {
        let asked = self.ask(world);
        let late = ["consumer-committed", "published"].contains(&point);
        assert!(asked.is_none() || late, "the service died before it answered: {asked:?}");
        world.died();
        // Before leases have ended, or after.
        std::thread::sleep(Duration::from_millis(world.draw.from(0..=1_600) as u64));
        Self { world: Some(world), ..self }
    }

    fn up(mut self) -> Self {
        self.world.as_mut().unwrap().up(None);
        self
    }

    /// Of an amount of which 1.4 % are whole cents; these and 25 cents are the fee.
    fn a_charge(world: &mut World) -> Self {
        let amount = 500 * world.draw.from(1..=100);
        let body =
            json!({"id": id(), "account": ANN, "amount": amount, "currency": "EUR", "card": "tok_visa"});
        Self::new("ann", "/payments".to_owned(), body, OPENING + amount - amount * 14 / 1_000 - 25, "charge")
    }

    pub(crate) fn charge(world: &'w mut World, point: &str, fault: &str) -> Self {
        world.up(Some(("PAYMENTS_CRASH_AT", point)));
        world.script(&[fault]);
        Self::a_charge(world).crash(world, point).up()
    }

    pub(crate) fn charge_without_replay(world: &'w mut World, point: &str, fault: &str) -> Self {
        Self { replays: false, ..Self::charge(world, point, fault) }
    }

    pub(crate) fn charge_and_stay_down(world: &mut World, point: &str, fault: &str) -> Crashed<'static> {
        world.up(Some(("PAYMENTS_CRASH_AT", point)));
        world.script(&[fault]);
        let charge = Crashed::a_charge(world);
        assert!(charge.ask(world).is_none());
        world.died();
        charge
    }

    pub(crate) fn up_again(self, world: &mut World) -> Crashed<'_> {
        world.up(None);
        Crashed {
            world: Some(world),
            who: self.who,
            path: self.path,
            key: self.key,
            body: self.body,
            balance: self.balance,
            posting: self.posting,
            references: self.references,
            replays: self.replays,
        }
    }

    pub(crate) fn transfer(world: &'w mut World, point: &str) -> Self {
        world.up(Some(("PAYMENTS_CRASH_AT", point)));
        // A larger one would need a one-time password.
        let amount = world.draw.from(1..=10_000);
        let body = json!({"id": id(), "from": ANN, "to": BEN, "amount": amount, "currency": "EUR"});
        let mut transfer = Self::new("ann", "/transfers".to_owned(), body, OPENING - amount, "transfer");
        transfer.references.clear();
        transfer.crash(world, point).up()
    }

    pub(crate) fn refund(world: &'w mut World, point: &str, fault: &str) -> Self {
        world.up(None);
        let charge = Self::a_charge(world);
        assert_eq!(charge.ask(world).unwrap().status, 201);
        let mut first = world.service.take().unwrap();
        first.kill().unwrap();
        first.wait().unwrap();
        world.up(Some(("PAYMENTS_CRASH_AT", point)));
        world.script(&[fault]);
        let payment = charge.references[0].clone();
        let amount = world.draw.from(1..=charge.body["amount"].as_i64().unwrap());
        let body = json!({"id": id(), "amount": amount, "currency": "EUR"});
        let path = format!("/payments/{payment}/refunds");
        let mut refund = Self::new("olga", path, body, charge.balance - amount, "refund");
        refund.references.push(payment);
        refund.crash(world, point).up()
    }

    /// A worker pauses at a point; the completer finishes its work; then it wakes.
    pub(crate) fn paused_and_woken(world: &'w mut World, point: &str) -> Self {
        world.up(Some(("PAYMENTS_PAUSE_AT", point)));
        world.script(&[if point == "after-unanswered" { "lose-reply" } else { "none" }]);
        let charge = Self::a_charge(world);
        let (http, bearer) = (world.http, format!("Bearer {}", world.bearer(charge.who)));
        let (path, key, body) = (charge.path.clone(), charge.key.clone(), charge.body.clone());
        let waiting = std::thread::spawn(move || {
            ask(http, "POST", &path, &[("authorization", &bearer), ("idempotency-key", &key)], Some(&body))
        });
        eventually("the intent", || {
            let (_, found) = world.audit();
            if found.contains("unfinished: 1") { Ok(()) } else { Err(found) }
        });
        world.rest();
        std::fs::write(world.folder.path().join("wake"), "").unwrap();
        let woken = waiting.join().unwrap().expect("an answer of the one that woke");
        assert_tells_what_happened(&woken);
        Self { world: Some(world), ..charge }
    }

    /// The service stops at a point; another instance finishes its work; then it wakes.
    pub(crate) fn stopped_and_woken(world: &'w mut World, point: &str) -> Self {
        world.up(Some(("PAYMENTS_STOP_AT", point)));
        world.script(&["none"]);
        let charge = Self::a_charge(world);
        let (http, bearer) = (world.http, format!("Bearer {}", world.bearer(charge.who)));
        let (path, key, body) = (charge.path.clone(), charge.key.clone(), charge.body.clone());
        let waiting = std::thread::spawn(move || {
            ask(http, "POST", &path, &[("authorization", &bearer), ("idempotency-key", &key)], Some(&body))
        });
        let pid = world.service.as_ref().unwrap().id();
        until_stopped(pid);
        let other = local(free_port().unwrap());
        let mut second = spawn(world.command(other)).unwrap();
        world.ready(other);
        world.rest();
        Command::new("kill").args(["-CONT", &pid.to_string()]).status().unwrap();
        let woken = waiting.join().unwrap().expect("an answer of the one that woke");
        assert_tells_what_happened(&woken);
        second.kill().unwrap();
        second.wait().unwrap();
        Self { world: Some(world), ..charge }
    }

    /// Everything that must hold; some come back at once, beside whoever completes what was left.
    pub(crate) fn assert_once(mut self, what: &str) {
        let impatient = self.world.as_mut().unwrap().draw.from(0..=2);
        let Self { world, replays, .. } = &self;
        let world = &**world.as_ref().unwrap();
        std::thread::scope(|scope| {
            let asked: Vec<_> =
                (0..if *replays { impatient } else { 0 }).map(|_| scope.spawn(|| self.ask(world))).collect();
            for answer in asked {
                let answer = answer.join().unwrap().unwrap_or_else(|| panic!("{what}: no answer"));
                assert!([200, 201, 202, 409].contains(&answer.status), "{what}: {answer:?}");
            }
        });
        world.rest();
        let first = self.ask(world).unwrap_or_else(|| panic!("{what}: no answer"));
        assert!([200, 201, 202].contains(&first.status), "{what}: {first:?}");
        world.rest();
        let (one, two) = (self.ask(world).unwrap(), self.ask(world).unwrap());
        assert!([200, 201].contains(&one.status), "{what}: {one:?}");
        assert_eq!((one.status, &one.body), (two.status, &two.body), "{what}: a repeat gets one answer");
        if first.status == 201 && *replays {
            assert_eq!(first.body, one.body, "{what}");
        }
        assert_eq!(
            world.count_of_postings(self.posting),
            1 + usize::from(self.posting == "transfer"),
            "{what}"
        );
        assert_eq!(world.balance(), self.balance, "{what}");
        for reference in &self.references {
            assert_eq!(world.moved(reference), 1, "{what}: money moved once");
        }
        world.rest();
    }
}

use std::future::Future;

use super::*;
use crate::env::Clock;

const LIFE: Duration = Duration::from_secs(60);

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn key(number: u8) -> RemoteKey {
    RemoteKey::new("notes", [number; 32])
}

fn put(number: u8, text: &'static str) -> RemotePut {
    let envelope = Bytes::from_static(text.as_bytes());
    RemotePut { key: key(number), envelope, life: LIFE, age: Duration::ZERO }
}

fn double() -> (RemoteDouble, Clock) {
    let clock = Clock::stepped();
    (RemoteDouble::new(clock.clone(), 7), clock)
}

#[test]
fn without_faults_it_keeps_what_it_is_given_until_its_life_ends() {
    run(async {
        let (double, clock) = double();
        assert_eq!(double.put_many(vec![put(1, "one"), put(2, "two")]).await, [Ok(()), Ok(())]);
        let many = double.get_many(&[key(2), key(3), key(1)]).await;
        assert_eq!(many, [Ok(Some("two".into())), Ok(None), Ok(Some("one".into()))]);
        double.delete(&key(2)).await.unwrap();
        assert_eq!(double.get(&key(2)).await, Ok(None));
        clock.advance(LIFE);
        assert_eq!(double.get(&key(1)).await, Ok(None));
    });
}

#[test]
fn each_fault_of_a_get_does_what_it_says() {
    run(async {
        let (double, _) = double();
        for text in ["old", "new"] {
            double.put(put(1, text)).await.unwrap();
        }
        double.put(put(2, "other")).await.unwrap();
        double.script(Fault::ALL.map(Some));
        assert_eq!(double.get(&key(1)).await, Ok(None), "lose");
        assert_eq!(double.get(&key(1)).await, Ok(Some("old".into())), "older");
        let corrupt = double.get(&key(1)).await.unwrap().unwrap();
        let flipped: u32 = corrupt.iter().zip(b"new").map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(flipped, 1, "corrupt");
        assert_eq!(double.get(&key(1)).await, Ok(Some("other".into())), "misplace");
        assert_eq!(double.get(&key(1)).await.unwrap_err().kind(), "unavailable");
        assert_eq!(double.get(&key(1)).await.unwrap_err().kind(), "timeout");
        assert_eq!(double.get(&key(1)).await, Ok(Some("new".into())), "the script is used up");
        assert_eq!(double.injected(), 6);
    });
}

#[test]
fn each_fault_of_a_put_does_what_it_says() {
    run(async {
        let (double, _) = double();
        let held = |number| double.held(&key(number));
        double.put(put(1, "first")).await.unwrap();
        double.put(put(2, "other")).await.unwrap();
        double.script(Fault::ALL.map(Some));
        double.put(put(1, "lost")).await.unwrap();
        double.put(put(1, "older")).await.unwrap();
        assert_eq!(held(1), Some("first".into()), "a lost and an older write leave the newest");
        double.put(put(1, "corrupt")).await.unwrap();
        assert!(held(1).is_some_and(|envelope| envelope != "corrupt" && envelope != "first"));
        double.put(put(1, "misplaced")).await.unwrap();
        assert_eq!((held(1), held(2)), (Some("misplaced".into()), Some("misplaced".into())));
        assert!(double.put(put(1, "refused")).await.is_err());
        assert_eq!(held(1), Some("misplaced".into()));
        assert!(double.put(put(1, "happened")).await.is_err());
        assert_eq!(held(1), Some("happened".into()), "told that it timed out, and yet stored");
    });
}

#[test]
fn the_same_seed_gives_the_same_faults_and_another_seed_others() {
    let trail = |seed| {
        run(async move {
            let double = RemoteDouble::new(Clock::stepped(), seed);
            double.set_rates(FaultRates { lose: 200, corrupt: 200, unavailable: 100, ..Default::default() });
            let mut trail = Vec::new();
            for number in 0..200 {
                let stored = double.put(put(number % 10, "some text")).await;
                trail.push((stored, double.get(&key(number % 10)).await));
            }
            (trail, double.injected())
        })
    };
    let (first, injected) = trail(1);
    assert_eq!((&first, injected), (&trail(1).0, trail(1).1));
    assert_ne!(first, trail(2).0);
    assert!((140..=260).contains(&injected), "half of 400 operations expected, {injected} had a fault");
}

#[test]
fn a_held_get_answers_with_what_it_saw_and_a_held_put_lands_late() {
    run(async {
        let (double, _) = double();
        double.put(put(1, "seen")).await.unwrap();
        double.close_gate();
        let (get_key, after) = (key(1), key(1));
        let mut get = double.get(&get_key);
        let late = double.put(put(1, "late"));
        tokio::pin!(late);
        tokio::select! {
            biased;
            _ = &mut get => panic!("the gate is closed"),
            _ = &mut late => panic!("the gate is closed"),
            () = double.wait_until_waiting(2) => {}
        }
        double.plant(&after, "meanwhile".into());
        double.release(1);
        assert_eq!(get.await, Ok(Some("seen".into())));
        assert_eq!(double.held(&after), Some("meanwhile".into()), "the put still waits");
        double.open_gate();
        late.await.unwrap();
        assert_eq!(double.held(&after), Some("late".into()));
        assert_eq!(double.get(&after).await, Ok(Some("late".into())), "an open gate holds nobody");
    });
}

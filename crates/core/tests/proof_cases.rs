//! Single cases of the ledger, each of which was wrong once or is easy to get wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use trueup_core::{
    entry::EpochId,
    env::{Clock, Nanos},
    proof::{
        Ask, Barrier, Beginning, Carrier, Ledger, Listener, Message, Need, Position, Proof, Proven, Refused,
        Rejected, Seen, Snapshot, Standing, Tag, Tags, Transaction, Unproven, Xid,
    },
};

const EPOCH: EpochId = EpochId::from_bytes([1; 16]);
const LATER_EPOCH: EpochId = EpochId::from_bytes([2; 16]);
const TAG: Tag = Tag(7);
static CLASS_EPOCH: AtomicU64 = AtomicU64::new(1);
const NEED: Need = Need { max_staleness: Duration::from_secs(1), token: None };

struct Entry {
    proof: Proof,
    settled: AtomicU64,
}

impl Carrier for Entry {
    fn proof(&self) -> &Proof {
        &self.proof
    }

    fn settled(self: Arc<Self>) {
        self.settled.fetch_add(1, Ordering::Relaxed);
    }
}

fn entry(proof: Proof) -> Arc<Entry> {
    Arc::new(Entry { proof, settled: AtomicU64::new(0) })
}

/// A ledger in its first epoch, that starts at position 10.
fn ledger() -> Arc<Ledger> {
    let ledger = Ledger::new(1024, 100);
    ledger.begin_epoch(EPOCH, Position(10), None);
    ledger
}

fn message(connection: u64, previous: u64, end: u64) -> Message {
    let transactions = vec![Transaction { xid: Xid(end), end: Position(end), tags: vec![TAG] }];
    Message { epoch: EPOCH, connection, previous: Position(previous), end: Position(end), transactions }
}

/// What a load saw: every id below `xid`, and nothing that ends above `upper`.
fn seen(xid: u64, upper: u64) -> Seen {
    let snapshot = Snapshot::Xids(format!("{xid}:{xid}:").parse().unwrap());
    Seen { snapshot, upper: Position(upper), epoch: EPOCH }
}

fn load(ledger: &Arc<Ledger>, seen: Seen) -> (Arc<Entry>, Result<(), Rejected>) {
    ledger.begin_load(Nanos(1), 1).admit(Tags::from_slice(&[TAG]), seen, entry)
}

fn ask(ledger: &Ledger, clock: &Clock, position: u64) {
    let ask = Ask { at: clock.now(), position: Position(position), discards: ledger.discards() };
    ledger.answered(EPOCH, ask, None);
}

fn check(ledger: &Ledger, proof: &Proof, clock: &Clock) -> Result<Proven, Unproven> {
    ledger.check(proof, &CLASS_EPOCH, &NEED, clock)
}

#[test]
fn an_unsettled_entry_is_served_settled_and_told_so_once() {
    let (ledger, clock) = (ledger(), Clock::stepped());
    ledger.apply(&message(1, 10, 11)).unwrap();
    ask(&ledger, &clock, 11);
    let (entry, kept) = load(&ledger, seen(14, 13));
    assert_eq!(kept, Ok(()));
    assert_eq!(check(&ledger, &entry.proof, &clock).unwrap().at, Position(11));
    ledger.apply(&message(1, 11, 12)).unwrap();
    assert_eq!(check(&ledger, &entry.proof, &clock).unwrap().at, Position(12));
    assert_eq!(entry.settled.load(Ordering::Relaxed), 0);
    ledger.apply(&message(1, 12, 13)).unwrap();
    assert_eq!(entry.proof.standing(), Standing::Settled(Position(13)));
    ledger.apply(&message(1, 13, 14)).unwrap();
    assert_eq!(entry.settled.load(Ordering::Relaxed), 1);
    assert_eq!(check(&ledger, &entry.proof, &clock), Err(Unproven::Changed));
}

#[test]
fn a_change_that_the_load_did_not_see_ends_an_unsettled_entry_at_once() {
    let (ledger, clock) = (ledger(), Clock::stepped());
    ledger.apply(&message(1, 10, 11)).unwrap();
    ask(&ledger, &clock, 11);
    let (entry, kept) = load(&ledger, seen(12, 13));
    assert_eq!(kept, Ok(()));
    ledger.apply(&message(1, 11, 12)).unwrap();
    assert_eq!(check(&ledger, &entry.proof, &clock), Err(Unproven::MissedChange));
    ledger.apply(&message(1, 12, 13)).unwrap();
    assert_eq!(entry.proof.standing(), Standing::Discarded);
}

/// The source was restarted, and its adapter counts connections from one in each epoch.
#[test]
fn the_first_message_of_an_epoch_discards_what_was_loaded_before_it() {
    let ledger = ledger();
    ledger.apply(&message(2, 10, 11)).unwrap();
    ledger.begin_epoch(LATER_EPOCH, Position(20), None);
    let (entry, kept) = load(&ledger, Seen { epoch: LATER_EPOCH, ..seen(30, 25) });
    assert_eq!(kept, Ok(()));
    ledger.apply(&Message { epoch: LATER_EPOCH, ..message(2, 20, 21) }).unwrap();
    assert_eq!(entry.proof.standing(), Standing::Discarded);
}

/// A carrier hears outside the lock that it is settled; by then another epoch may have begun.
#[test]
fn a_proof_is_shared_under_the_name_of_its_own_epoch_or_not_at_all() {
    let ledger = ledger();
    let (entry, kept) = load(&ledger, seen(10, 10));
    assert_eq!(kept, Ok(()));
    assert_eq!(ledger.epoch_of(&entry.proof), Some(EPOCH));
    ledger.begin_epoch(LATER_EPOCH, Position(10), None);
    assert_eq!(entry.proof.standing(), Standing::Settled(Position(10)));
    assert_eq!(ledger.epoch_of(&entry.proof), None);
}

#[test]
fn messages_may_repeat_and_overlap_but_not_leave_a_gap() {
    let ledger = ledger();
    ledger.apply(&message(1, 10, 12)).unwrap();
    assert_eq!(ledger.apply(&message(1, 10, 12)), Err(Refused::Old));
    let gap = Refused::Gap { applied: Position(12), previous: Position(13) };
    assert_eq!(ledger.apply(&message(1, 13, 14)), Err(gap));
    assert_eq!(ledger.apply(&Message { epoch: LATER_EPOCH, ..message(1, 12, 13) }), Err(Refused::OtherEpoch));
    let mut disordered = message(1, 12, 14);
    disordered.transactions.push(Transaction { xid: Xid(13), end: Position(13), tags: vec![TAG] });
    assert_eq!(ledger.apply(&disordered), Err(Refused::Malformed));
    disordered.transactions.swap(0, 1);
    disordered.previous = Position(11);
    assert_eq!(ledger.apply(&disordered), Ok(()));
    assert_eq!(ledger.applied(), Position(14));
}

#[test]
fn a_load_that_is_dropped_holds_nothing() {
    let ledger = ledger();
    let load = ledger.begin_load(Nanos(1), 1);
    for end in 11..20 {
        ledger.apply(&message(1, end - 1, end)).unwrap();
        let ask = Ask { at: Nanos(end), position: Position(end), discards: ledger.discards() };
        ledger.answered(EPOCH, ask, Some(&seen(end + 1, end).snapshot));
    }
    // The first message discarded the load; one that starts now holds the changes from here on.
    drop(load);
    let load = ledger.begin_load(Nanos(1), 1);
    ledger.apply(&message(1, 19, 20)).unwrap();
    let ask = Ask { at: Nanos(20), position: Position(20), discards: ledger.discards() };
    ledger.answered(EPOCH, ask, Some(&seen(21, 20).snapshot));
    assert_eq!(ledger.status().recent, 1);
    drop(load);
    assert_eq!(ledger.status().recent, 0);
}

#[test]
fn loads_that_run_while_an_epoch_begins_or_ends_are_refused() {
    let ledger = ledger();
    let running = ledger.begin_load(Nanos(1), 1);
    ledger.begin_epoch(LATER_EPOCH, Position(10), None);
    let later = Seen { epoch: LATER_EPOCH, ..seen(10, 10) };
    let (kept, refused) = running.admit(Tags::new(), later.clone(), entry);
    assert_eq!((kept.proof.standing(), refused), (Standing::Discarded, Err(Rejected::Interrupted)));
    assert_eq!(
        ledger.begin_load(Nanos(1), 1).admit(Tags::new(), seen(10, 10), entry).1,
        Err(Rejected::OtherEpoch)
    );
    let running = ledger.begin_load(Nanos(1), 1);
    ledger.end_epoch();
    assert!(running.admit(Tags::new(), later.clone(), entry).1.is_err());
    assert_eq!(ledger.begin_load(Nanos(1), 1).admit(Tags::new(), later, entry).1, Err(Rejected::NoFloor));
}

#[test]
fn a_shared_proof_is_taken_over_only_within_what_this_node_can_check() {
    let ledger = ledger();
    ledger.apply(&message(1, 10, 15)).unwrap();
    let adopt = |upper, proven_at, epoch| {
        ledger.adopt(Tags::from_slice(&[TAG]), Position(upper), Position(proven_at), epoch, 1).map(|_| ())
    };
    assert_eq!(adopt(12, 15, EPOCH), Ok(()));
    assert_eq!(adopt(8, 10, EPOCH), Ok(()));
    assert_eq!(adopt(12, 15, LATER_EPOCH), Err(Rejected::OtherEpoch));
    for (upper, proven_at) in [(8, 9), (12, 16), (13, 12), (0, 12)] {
        assert_eq!(adopt(upper, proven_at, EPOCH), Err(Rejected::Interrupted), "{upper} {proven_at}");
    }
    ledger.heard(EPOCH, Position(16));
    assert_eq!(adopt(12, 16, EPOCH), Ok(()));
}

#[test]
fn a_token_counts_once_it_is_applied_and_confirmed() {
    let (ledger, clock) = (ledger(), Clock::stepped());
    let (entry, _) = load(&ledger, seen(10, 10));
    ask(&ledger, &clock, 10);
    let with_token = Need { token: Some(Position(12)), ..NEED };
    let check = || ledger.check(&entry.proof, &CLASS_EPOCH, &with_token, &clock);
    assert_eq!(check(), Err(Unproven::TokenAhead));
    let nothing = Message { transactions: Vec::new(), ..message(1, 10, 12) };
    ledger.apply(&nothing).unwrap();
    assert_eq!(check(), Err(Unproven::TokenAhead));
    ask(&ledger, &clock, 12);
    assert!(check().is_ok());
    clock.advance(NEED.max_staleness + Duration::from_nanos(1));
    assert_eq!(check(), Err(Unproven::TooOld));
}

/// What a session wrote a while ago: the feed has long gone past it.
#[test]
fn a_token_that_lies_behind_what_is_applied_counts() {
    let (ledger, clock) = (ledger(), Clock::stepped());
    let (entry, _) = load(&ledger, seen(10, 10));
    ledger.apply(&Message { transactions: Vec::new(), ..message(1, 10, 15) }).unwrap();
    ask(&ledger, &clock, 15);
    let with_token = Need { token: Some(Position(12)), ..NEED };
    let proven = ledger.check(&entry.proof, &CLASS_EPOCH, &with_token, &clock).unwrap();
    assert_eq!((proven.at, proven.age()), (Position(15), Duration::ZERO));
    clock.advance(Duration::from_nanos(7));
    assert_eq!(
        ledger.check(&entry.proof, &CLASS_EPOCH, &with_token, &clock).unwrap().age(),
        Duration::from_nanos(7)
    );
}

/// A proof that is checked again and again starts from where it was checked last.
#[test]
fn a_check_that_passes_raises_the_proof() {
    const RESOLUTION: Duration = Duration::from_millis(50);
    let (ledger, clock) = (ledger(), Clock::stepped());
    ask(&ledger, &clock, 10);
    let (entry, _) = load(&ledger, seen(10, 10));
    assert_eq!(entry.proof.standing(), Standing::Settled(Position(10)));
    let known = |end: u64| {
        let nothing = Message { transactions: Vec::new(), ..message(1, end - 1, end) };
        ledger.apply(&nothing).unwrap();
        ask(&ledger, &clock, end);
        check(&ledger, &entry.proof, &clock).unwrap();
        entry.proof.proven_moment()
    };
    let began = known(11);
    assert_eq!(entry.proof.standing(), Standing::Settled(Position(11)));
    // The moment is written once per so much time, so that readers of a hot key do not all write to it.
    clock.advance(RESOLUTION);
    assert_eq!(known(12), began);
    assert_eq!(entry.proof.standing(), Standing::Settled(Position(12)));
    clock.advance(Duration::from_nanos(1));
    assert_eq!(known(13), clock.now());
}

#[test]
fn several_entries_are_proven_together_where_one_state_shows_them_all() {
    let (ledger, clock) = (ledger(), Clock::stepped());
    ask(&ledger, &clock, 10);
    let (first, _) = load(&ledger, seen(10, 10));
    ledger.heard(EPOCH, Position(12));
    let shared = ledger.adopt(Tags::from_slice(&[Tag(8)]), Position(12), Position(12), EPOCH, 1).unwrap();
    let together = |proofs: &[&Proof]| {
        ledger.check_together(proofs.iter().copied(), &CLASS_EPOCH, &NEED, &clock).map(|proven| proven.at)
    };
    assert_eq!(together(&[&first.proof]), Ok(Position(10)));
    // It may reflect what this node has not applied, and the first does not.
    assert_eq!(together(&[&first.proof, &shared]), Err(Unproven::MissedChange));
    ledger.apply(&Message { transactions: Vec::new(), ..message(1, 10, 12) }).unwrap();
    ask(&ledger, &clock, 12);
    assert_eq!(together(&[&first.proof, &shared]), Ok(Position(12)));
    let (waiting, _) = load(&ledger, seen(13, 14));
    assert_eq!(together(&[&first.proof, &waiting.proof]), Err(Unproven::MissedChange));
    ledger.apply(&message(1, 12, 13)).unwrap();
    ledger.apply(&message(1, 13, 14)).unwrap();
    assert_eq!(waiting.proof.standing(), Standing::Discarded);
    assert_eq!(together(&[&shared, &waiting.proof]), Err(Unproven::Discarded));
    assert_eq!(together(&[&first.proof]), Err(Unproven::Changed));
}

/// Each is judged by what its own load saw.
#[test]
fn entries_that_wait_for_one_position_are_told_apart() {
    let (ledger, clock) = (ledger(), Clock::stepped());
    ledger.apply(&message(1, 10, 11)).unwrap();
    ask(&ledger, &clock, 11);
    let (early, _) = load(&ledger, seen(12, 13));
    let (late, _) = load(&ledger, seen(14, 13));
    let (last, _) = load(&ledger, seen(12, 13));
    ledger.apply(&message(1, 11, 12)).unwrap();
    assert_eq!(check(&ledger, &early.proof, &clock), Err(Unproven::MissedChange));
    assert!(check(&ledger, &late.proof, &clock).is_ok());
    assert_eq!(check(&ledger, &last.proof, &clock), Err(Unproven::MissedChange));
}

#[test]
fn what_is_told_twice_is_held_once_and_the_highest_position_is_none() {
    let ledger = ledger();
    ledger.apply(&message(1, 10, 12)).unwrap();
    let mut longer = message(1, 10, 14);
    longer.transactions.insert(0, message(1, 10, 12).transactions[0].clone());
    ledger.apply(&longer).unwrap();
    assert_eq!((ledger.applied(), ledger.status().recent), (Position(14), 2));
    let endless = Message { transactions: Vec::new(), end: Position::MAX, ..message(1, 14, 15) };
    assert_eq!(ledger.apply(&endless), Err(Refused::Malformed));
}

/// The adapter says so when the catalogue or its connection has moved.
#[test]
fn what_is_discarded_in_flight_is_never_settled() {
    let ledger = ledger();
    let (waiting, kept) = load(&ledger, seen(12, 12));
    assert_eq!(kept, Ok(()));
    let in_flight = ledger.begin_load(Nanos(1), 7);
    assert_eq!((in_flight.class_epoch(), in_flight.refused()), (7, None));
    ledger.discard_in_flight();
    assert_eq!(waiting.proof.standing(), Standing::Discarded);
    let (_, kept) = in_flight.admit(Tags::from_slice(&[TAG]), seen(12, 12), entry);
    assert_eq!(kept, Err(Rejected::Interrupted));
    ledger.end_epoch();
    assert_eq!(ledger.begin_load(Nanos(1), 1).refused(), Some(Rejected::NoFloor));
}

/// A snapshot that was asked for before may be older than what the epoch begins with.
#[test]
fn an_answer_that_was_asked_for_before_an_epoch_began_raises_no_floor() {
    let (ledger, clock) = (Ledger::new(1024, 100), Clock::stepped());
    let barrier = Barrier { xid: Xid(20), end: Position(10) };
    ledger.begin_epoch(EPOCH, Position(10), Some(barrier));
    let asked =
        |ledger: &Ledger| Ask { at: clock.now(), position: Position(10), discards: ledger.discards() };
    let before = asked(&ledger);
    ledger.begin_epoch(EPOCH, Position(10), Some(barrier));
    ledger.answered(EPOCH, before, Some(&seen(21, 10).snapshot));
    assert_eq!(ledger.status().floor, None);
    ledger.answered(EPOCH, asked(&ledger), Some(&seen(21, 10).snapshot));
    assert_eq!(ledger.status().floor, Some(Position(10)));
}

#[test]
fn the_ledger_tells_how_far_the_source_is_and_when_it_knew() {
    let (ledger, clock) = (ledger(), Clock::stepped());
    let number = ledger.epoch_number();
    clock.advance(Duration::from_secs(3));
    ask(&ledger, &clock, 10);
    assert_eq!((ledger.moment(), ledger.told()), (clock.now(), Position(10)));
    ledger.heard(EPOCH, Position(17));
    assert_eq!(ledger.told(), Position(17));
    ledger.begin_epoch(LATER_EPOCH, Position(10), None);
    assert_eq!(ledger.epoch_number(), number + 1);
    ledger.end_epoch();
    assert_eq!(ledger.epoch_number(), number + 2);
}

/// What may not be kept is answered all the same, and its position goes into the session's token.
#[test]
fn a_value_that_is_refused_belongs_to_the_epoch_that_it_was_read_in() {
    let ledger = ledger();
    ledger.apply(&message(1, 10, 12)).unwrap();
    let (missed, kept) = load(&ledger, seen(11, 12));
    assert_eq!(kept, Err(Rejected::MissedChange));
    assert_eq!(ledger.epoch_of(&missed.proof), Some(EPOCH));
    let (elsewhere, kept) = load(&ledger, Seen { epoch: LATER_EPOCH, ..seen(13, 12) });
    assert_eq!(kept, Err(Rejected::OtherEpoch));
    assert_eq!(ledger.epoch_of(&elsewhere.proof), None);
}

#[derive(Default)]
struct Heard {
    all: parking_lot::Mutex<Vec<String>>,
    /// How the latest epoch began.
    how: parking_lot::Mutex<Option<Beginning>>,
}

impl Listener for Heard {
    fn told(&self, transaction: &Transaction) {
        self.all.lock().push(format!("told {}", transaction.end.0));
    }

    fn reached(&self, end: Position) {
        self.all.lock().push(format!("reached {}", end.0));
    }

    fn begun(&self, _: EpochId, number: u64, applied: Position, how: Beginning) {
        self.all.lock().push(format!("begun {number} {}", applied.0));
        *self.how.lock() = Some(how);
    }

    fn frozen(&self) {
        self.all.lock().push("frozen".to_owned());
    }
}

#[test]
fn listeners_hear_everything_for_as_long_as_they_live() {
    let ledger = ledger();
    let (first, second) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
    let number = ledger.epoch_number();
    let listening = ledger.listen(&first).unwrap();
    assert_eq!((listening.epoch, listening.number, listening.applied), (EPOCH, number, Position(10)));
    ledger.listen(&second).unwrap();
    ledger.apply(&message(1, 10, 12)).unwrap();
    let expected = vec![format!("begun {number} 10"), "told 12".to_owned(), "reached 12".to_owned()];
    assert_eq!((&*first.all.lock(), &*second.all.lock()), (&expected, &expected));
    drop(second);
    ledger.begin_epoch(LATER_EPOCH, Position(20), None);
    ledger.freeze(Barrier { xid: Xid(30), end: Position(20) });
    assert_eq!(first.all.lock()[3..], [format!("begun {} 20", number + 1), "frozen".to_owned()]);
    ledger.end_epoch();
    assert!(ledger.listen(&first).is_none());
}

/// One that an earlier process has left is there before the first epoch, and goes on only where it hears that the log does.
#[test]
fn one_that_is_expected_hears_how_the_next_epoch_begins_and_all_that_is_told_in_it() {
    type Begin<'a> = &'a dyn Fn(&Ledger);
    let saved = ledger().save().unwrap();
    let begins: [(Begin<'_>, Beginning); 4] = [
        (&|ledger| ledger.begin_epoch(EPOCH, Position(10), None), Beginning::Anew),
        (&|ledger| ledger.restore(&saved).unwrap(), Beginning::Anew),
        (
            &|ledger| ledger.begin_resumed(EPOCH, Position(10), LATER_EPOCH),
            Beginning::Resumed { of: LATER_EPOCH },
        ),
        (&|ledger| ledger.resume(&saved).unwrap(), Beginning::Resumed { of: EPOCH }),
    ];
    for (begin, how) in begins {
        let (ledger, heard) = (Ledger::new(1024, 100), Arc::new(Heard::default()));
        ledger.expect(&heard);
        assert_eq!(heard.all.lock().len(), 0, "not before there is an epoch");
        begin(&ledger);
        assert_eq!((ledger.epoch(), ledger.applied()), (Some(EPOCH), Position(10)), "{how:?}");
        assert_eq!(*heard.how.lock(), Some(how));
        ledger.apply(&message(1, 10, 12)).unwrap();
        let number = ledger.epoch_number();
        assert_eq!(*heard.all.lock(), [&*format!("begun {number} 10"), "told 12", "reached 12"], "{how:?}");
    }
}

/// A standby that has replayed exactly the last change of a row shows the row as it is.
#[test]
fn a_standby_that_has_just_replayed_the_last_change_is_believed() {
    let (ledger, clock) = (ledger(), Clock::stepped());
    let mut two = message(1, 10, 15);
    two.transactions.insert(0, Transaction { xid: Xid(12), end: Position(12), tags: vec![Tag(8)] });
    ledger.apply(&two).unwrap();
    let ask = Ask { at: clock.now(), position: Position(15), discards: ledger.discards() };
    ledger.answered(EPOCH, ask, Some(&seen(16, 15).snapshot));
    let replayed = |through| Seen { snapshot: Snapshot::Replayed(Position(through)), ..seen(0, 15) };
    let on_eight = |through| {
        ledger.begin_load(Nanos(1), 1).admit(Tags::from_slice(&[Tag(8)]), replayed(through), entry).1
    };
    assert_eq!(on_eight(12), Ok(()));
    assert_eq!(on_eight(11), Err(Rejected::MissedChange));
}

/// The standby was behind what the primary has shown to everybody: what lies between is known by its buckets alone.
#[test]
fn a_standby_that_was_behind_the_floor_is_believed_only_about_what_has_not_changed() {
    let (ledger, clock) = (ledger(), Clock::stepped());
    ledger.apply(&message(1, 10, 15)).unwrap();
    let ask = Ask { at: clock.now(), position: Position(15), discards: ledger.discards() };
    ledger.answered(EPOCH, ask, Some(&seen(16, 15).snapshot));
    assert_eq!((ledger.status().floor, ledger.status().recent), (Some(Position(15)), 0));
    let replayed = |through| Seen { snapshot: Snapshot::Replayed(Position(through)), ..seen(0, 15) };
    assert_eq!(load(&ledger, replayed(12)).1, Err(Rejected::MissedChange));
    assert_eq!(load(&ledger, replayed(15)).1, Ok(()));
    let untouched = ledger.begin_load(Nanos(1), 1).admit(Tags::from_slice(&[Tag(8)]), replayed(12), entry);
    assert_eq!(untouched.1, Ok(()));
}

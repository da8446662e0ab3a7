//! Who may ask the source, and who waits: by priority, within a limit that moves and a rate that does not.

use std::{collections::VecDeque, num::NonZeroU32, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    adaptive::{Adaptive, LoadTimes},
    pace::Pace,
    ramp::Ramp,
    rules::{self, LoadLimits},
};
use crate::{
    class::Priority,
    env::{self, Clock, Nanos, seldom},
    shed::ShedReason,
    source::LoadError,
};

/// How many loads may wait for each that may run at the declared ceiling.
const WAITING_PER_RUNNING: usize = 64;
/// How long a load is taken to last before one has been timed.
const LOAD_TIME_GUESS: Duration = Duration::from_millis(20);
/// The shortest wait that is worth telling a client, and the longest.
const RETRY_AFTER: std::ops::RangeInclusive<u64> = 1..=60_000;
/// Weight of one load in the mean of all.
const MEAN_WEIGHT: f64 = 0.05;

/// Lets loads through to the source.
#[derive(Debug)]
pub(super) struct Limiter {
    clock: Clock,
    limits: LoadLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    adaptive: Adaptive,
    /// Loads under way, and how many of them are not critical.
    in_flight: u32,
    in_flight_other: u32,
    queues: [VecDeque<Waiting>; Priority::ALL.len()],
    next_ticket: u64,
    pace: Option<Pace>,
    /// The part of the pace that is not kept for critical loads.
    pace_other: Option<Pace>,
    /// What is not critical is limited, because a hit rate is below its floor.
    tripped: bool,
    /// The time after the start; none once it is over.
    ramp: Option<Ramp>,
    /// When a task wakes that waits for the pace.
    wakes_at: Option<Nanos>,
    mean_ns: f64,
    counts: LimiterCounts,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    answer: oneshot::Sender<Result<Permit, LoadError>>,
}

/// What the limiter has done, by priority in the order of [`Priority::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimiterCounts {
    /// Loads let through.
    pub admitted: [u64; Priority::ALL.len()],
    /// Loads refused, by reason in the order of [`ShedReason::ALL`].
    pub shed: [[u64; ShedReason::ALL.len()]; Priority::ALL.len()],
}

/// How the limiter is at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimiterStatus {
    /// Loads that may be under way at once, by the source's latency.
    pub limit: f64,
    /// Loads under way.
    pub in_flight: u32,
    /// Loads that wait, by priority.
    pub waiting: [usize; Priority::ALL.len()],
    /// Whether what is not critical is limited, because a hit rate is below its floor.
    pub tripped: bool,
    /// What share, 0 to 1, of the loads for readers is let through that are not critical; 1 but for the time after the start.
    pub ramp_share: f64,
    /// What it has done.
    pub counts: LimiterCounts,
}

/// A place at the source; free again when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: Arc<Limiter>,
    priority: Priority,
    /// Loads under way when this one began, itself among them.
    among: u32,
}

impl Limiter {
    pub(super) fn new(limits: LoadLimits, clock: Clock) -> Arc<Self> {
        let state = State {
            adaptive: Adaptive::new(limits.loads_max.get()),
            in_flight: 0,
            in_flight_other: 0,
            queues: Default::default(),
            next_ticket: 0,
            pace: limits.loads_per_second_max.map(Pace::new),
            pace_other: pace_other(&limits, false),
            tripped: false,
            ramp: Ramp::begin(&limits, clock.now()),
            wakes_at: None,
            mean_ns: 0.0,
            counts: LimiterCounts::default(),
        };
        Arc::new(Self { clock, limits, state: Mutex::new(state) })
    }

    /// A place for a load that a reader needs, at once or after a wait of `wait_max` at most.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        priority: Priority,
        wait_max: Duration,
    ) -> Result<Permit, LoadError> {
        self.pass_ramp(priority)?;
        self.acquire_unramped(priority, wait_max).await
    }

    /// The same, for one that no reader waits for: what makes the node warm is not held back because it is cold.
    pub(super) async fn acquire_unramped(
        self: &Arc<Self>,
        priority: Priority,
        wait_max: Duration,
    ) -> Result<Permit, LoadError> {
        let (ticket, answer) = match self.enter(priority) {
            Entered::Admitted(permit) => return Ok(permit),
            Entered::Refused(error) => return Err(error),
            Entered::Waits(ticket, answer) => (ticket, answer),
        };
        let mut place = Place { limiter: self, priority, ticket: Some(ticket) };
        match seldom(tokio::time::timeout(wait_max, answer)).await {
            Ok(Ok(answered)) => {
                place.ticket = None;
                answered
            }
            Ok(Err(_)) => Err(LoadError::Lost),
            Err(_) => {
                let mut state = self.state.lock();
                Err(self.shed(&mut state, priority, ShedReason::WaitedTooLong))
            }
        }
    }

    /// A place at the source if one is free and nobody waits.
    pub(super) fn try_acquire(self: &Arc<Self>, priority: Priority) -> Option<Permit> {
        let mut state = self.state.lock();
        let free = state.queues.iter().all(VecDeque::is_empty) && self.has_room(&state, priority);
        free.then(|| self.admit(&mut state, priority))
    }

    /// Refuses a part of what is not critical while the ramp lasts.
    fn pass_ramp(&self, priority: Priority) -> Result<(), LoadError> {
        if priority == Priority::Critical {
            return Ok(());
        }
        let mut state = self.state.lock();
        let Some(ramp) = &mut state.ramp else { return Ok(()) };
        let now = self.clock.now();
        if ramp.is_over(now) {
            state.ramp = None;
            return Ok(());
        }
        if ramp.admits(now) {
            return Ok(());
        }
        let retry_after_ms = ramp.retry_after_ms(now);
        count_shed(&mut state, priority, ShedReason::Ramp);
        Err(LoadError::Shed { why: ShedReason::Ramp, retry_after_ms })
    }

    /// The time after the start begins now.
    pub(super) fn begin_ramp(&self) {
        self.state.lock().ramp = Ramp::begin(&self.limits, self.clock.now());
    }

    fn enter(self: &Arc<Self>, priority: Priority) -> Entered {
        let mut displaced = None;
        let mut state = self.state.lock();
        let is_next = state.queues[..=priority.index()].iter().all(VecDeque::is_empty);
        if is_next && self.has_room(&state, priority) {
            return Entered::Admitted(self.admit(&mut state, priority));
        }
        if !rules::may_wait(priority, state.tripped) {
            return Entered::Refused(self.shed(&mut state, priority, ShedReason::HitRate));
        }
        let waiting: usize = state.queues.iter().map(VecDeque::len).sum();
        if waiting >= self.limits.loads_max.get() as usize * WAITING_PER_RUNNING {
            // The newest of the lowest priority below this one makes room.
            let lower = Priority::ALL.into_iter().rev().take_while(|lower| *lower > priority);
            match { lower }.find(|lower| !state.queues[lower.index()].is_empty()) {
                None => return Entered::Refused(self.shed(&mut state, priority, ShedReason::QueueFull)),
                Some(lower) => {
                    let leaving = state.queues[lower.index()].pop_back();
                    displaced =
                        leaving.map(|leaving| (leaving, self.shed(&mut state, lower, ShedReason::Displaced)));
                }
            }
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let (sender, answer) = oneshot::channel();
        state.queues[priority.index()].push_back(Waiting { ticket, answer: sender });
        self.pace_the_queue(&mut state);
        drop(state);
        if let Some((leaving, error)) = displaced {
            let _ = leaving.answer.send(Err(error));
        }
        Entered::Waits(ticket, answer)
    }

    /// Whether a load of this priority could go now.
    fn has_room(&self, state: &State, priority: Priority) -> bool {
        self.has_place(state, priority) && self.pace_wait(state, priority).is_zero()
    }

    fn has_place(&self, state: &State, priority: Priority) -> bool {
        let limit = state.adaptive.limit();
        let all = state.in_flight < limit.max(1.0) as u32;
        let other_max = rules::others_max(limit, self.limits.critical_reserve, priority, state.tripped);
        all && other_max.is_none_or(|most| state.in_flight_other < most)
    }

    fn pace_wait(&self, state: &State, priority: Priority) -> Duration {
        // Where no rate is declared there is no pace for the others either, and nothing to ask the clock for.
        if state.pace.is_none() {
            return Duration::ZERO;
        }
        let now = self.clock.now();
        let wait = |pace: &Option<Pace>| pace.as_ref().map_or(Duration::ZERO, |pace| pace.wait(now));
        let all = wait(&state.pace);
        if priority == Priority::Critical { all } else { all.max(wait(&state.pace_other)) }
    }

    fn admit(self: &Arc<Self>, state: &mut State, priority: Priority) -> Permit {
        let is_other = priority != Priority::Critical;
        state.in_flight += 1;
        state.in_flight_other += u32::from(is_other);
        if let Some(pace) = &mut state.pace {
            let now = self.clock.now();
            pace.take(now);
            if let Some(pace) = state.pace_other.as_mut().filter(|_| is_other) {
                pace.take(now);
            }
        }
        state.counts.admitted[priority.index()] += 1;
        Permit { limiter: Arc::clone(self), priority, among: state.in_flight }
    }

    /// Counts a refusal and says when it is worth asking again: when those who wait now will have had their turn.
    fn shed(&self, state: &mut State, priority: Priority, why: ShedReason) -> LoadError {
        count_shed(state, priority, why);
        LoadError::Shed { why, retry_after_ms: self.retry_after_ms(state, priority) }
    }

    fn retry_after_ms(&self, state: &State, priority: Priority) -> u64 {
        let ahead: usize = state.queues[..=priority.index()].iter().map(VecDeque::len).sum();
        let mean_s = if state.mean_ns > 0.0 { state.mean_ns / 1e9 } else { LOAD_TIME_GUESS.as_secs_f64() };
        let limit = state.adaptive.limit();
        let places = rules::others_max(limit, self.limits.critical_reserve, priority, state.tripped)
            .map_or(limit, f64::from);
        let by_places = places.max(1.0) / mean_s;
        let pace = if priority == Priority::Critical { &state.pace } else { &state.pace_other };
        let per_second = pace.as_ref().map_or(by_places, |pace| by_places.min(pace.per_second()));
        let wait_ms = (ahead as f64 + 1.0) / per_second * 1_000.0;
        (wait_ms.ceil() as u64).clamp(*RETRY_AFTER.start(), *RETRY_AFTER.end())
    }

    /// Lets those through who may go by now, the most important first.
    fn dispatch(self: &Arc<Self>) {
        let mut unclaimed = Vec::new();
        let mut state = self.state.lock();
        for priority in Priority::ALL {
            while !state.queues[priority.index()].is_empty() && self.has_room(&state, priority) {
                let Some(next) = state.queues[priority.index()].pop_front() else { break };
                let permit = self.admit(&mut state, priority);
                // Whoever has left hands the permit back: not here, under the lock.
                unclaimed.extend(next.answer.send(Ok(permit)).err());
            }
            if !state.queues[priority.index()].is_empty() {
                // What is less important does not overtake.
                break;
            }
        }
        self.pace_the_queue(&mut state);
        drop(state);
        drop(unclaimed);
    }

    /// Has somebody wait for the pace, where that is what the first in the queue waits for.
    fn pace_the_queue(self: &Arc<Self>, state: &mut State) {
        if state.pace.is_none() {
            return;
        }
        let first = Priority::ALL.into_iter().find(|priority| !state.queues[priority.index()].is_empty());
        let Some(first) = first.filter(|first| self.has_place(state, *first)) else { return };
        let wait = self.pace_wait(state, first);
        let at = self.clock.now().after(wait);
        if state.wakes_at.is_some_and(|wakes_at| wakes_at <= at) {
            return;
        }
        state.wakes_at = Some(at);
        let limiter = Arc::clone(self);
        let _ = env::spawn("load pace", async move {
            tokio::time::sleep(wait).await;
            limiter.state.lock().wakes_at.take_if(|wakes_at| *wakes_at == at);
            limiter.dispatch();
        });
    }

    /// Everybody who waits gets this answer.
    pub(super) fn refuse_all(&self, error: &LoadError) {
        let waiting: Vec<Waiting> = {
            let mut state = self.state.lock();
            state.queues.iter_mut().flat_map(std::mem::take).collect()
        };
        for waiting in waiting {
            let _ = waiting.answer.send(Err(error.clone()));
        }
    }

    /// The source is back after an outage.
    pub(super) fn begin_again(&self) {
        self.state.lock().adaptive.begin_again();
    }

    /// Limits what is not critical, or does so no longer.
    pub(super) fn set_tripped(self: &Arc<Self>, tripped: bool) {
        let left_out = {
            let mut state = self.state.lock();
            if state.tripped == tripped {
                return;
            }
            state.tripped = tripped;
            state.pace_other = pace_other(&self.limits, tripped);
            let mut left_out = Vec::new();
            for priority in Priority::ALL.into_iter().filter(|one| !rules::may_wait(*one, tripped)) {
                for waiting in std::mem::take(&mut state.queues[priority.index()]) {
                    left_out.push((waiting, self.shed(&mut state, priority, ShedReason::HitRate)));
                }
            }
            left_out
        };
        for (waiting, error) in left_out {
            let _ = waiting.answer.send(Err(error));
        }
        self.dispatch();
    }

    pub(super) fn status(&self) -> LimiterStatus {
        let state = self.state.lock();
        LimiterStatus {
            limit: state.adaptive.limit(),
            in_flight: state.in_flight,
            waiting: std::array::from_fn(|index| state.queues[index].len()),
            tripped: state.tripped,
            ramp_share: state.ramp.as_ref().map_or(1.0, |ramp| ramp.share(self.clock.now())),
            counts: state.counts,
        }
    }
}

/// What a load met at the door.
enum Entered {
    Admitted(Permit),
    Refused(LoadError),
    Waits(u64, oneshot::Receiver<Result<Permit, LoadError>>),
}

fn count_shed(state: &mut State, priority: Priority, why: ShedReason) {
    let reason = ShedReason::ALL.iter().position(|reason| *reason == why).unwrap_or_default();
    state.counts.shed[priority.index()][reason] += 1;
}

/// The part of the rate that is not kept for critical loads.
fn pace_other(limits: &LoadLimits, tripped: bool) -> Option<Pace> {
    let share = if tripped { rules::TRIPPED_SHARE } else { 1.0 - limits.critical_reserve };
    limits.loads_per_second_max.map(|rate: NonZeroU32| Pace::share_of(rate, share))
}

/// A place in the queue, left when dropped.
struct Place<'a> {
    limiter: &'a Limiter,
    priority: Priority,
    ticket: Option<u64>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.limiter.state.lock();
        let queue = &mut state.queues[self.priority.index()];
        // Tickets ascend within a queue.
        if let Ok(at) = queue.binary_search_by_key(&ticket, |waiting| waiting.ticket) {
            queue.remove(at);
        }
    }
}

impl Permit {
    /// The load ended: what it tells of the source.
    pub(super) fn ended(&self, took: Duration, times: &LoadTimes, failed: bool) {
        let limiter = &self.limiter;
        let mut state = limiter.state.lock();
        state.adaptive.ended(limiter.clock.now(), took, times, self.among, failed);
        if failed {
            return;
        }
        let took_ns = took.as_nanos() as f64;
        let mean_ns = state.mean_ns;
        state.mean_ns = if mean_ns == 0.0 { took_ns } else { mean_ns + (took_ns - mean_ns) * MEAN_WEIGHT };
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.limiter.state.lock();
            state.in_flight = state.in_flight.saturating_sub(1);
            if self.priority != Priority::Critical {
                state.in_flight_other = state.in_flight_other.saturating_sub(1);
            }
        }
        self.limiter.dispatch();
    }
}

#[cfg(test)]
#[path = "limiter_tests.rs"]
mod tests;

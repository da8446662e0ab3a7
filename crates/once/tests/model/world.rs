//! A payment, two workers, a gateway, and what can happen to them.
//!
//! A transaction is one step: it happens or it does not. A worker may be stopped between any two of its steps for as long as one likes,
//! which is the same as the others going on. What the model takes for granted is that the margin before the gateway forgets a key is longer than a
//! request can take from the look at the clock to its arrival; `Rule::Margin` shows what that is for.

use stateright::{Model, Property};

pub(crate) const ONE_CHARGE: &str = "at most one charge";
pub(crate) const ONE_POSTING: &str = "at most one posting";
pub(crate) const RECORDED_AS_IT_WAS: &str = "recorded as it was";
const SAME_ANSWER: &str = "every answer is the same";
const NO_HOLD_LEFT: &str = "what is finished holds nothing";

const WORKERS: usize = 2;
const MESSAGES_MAX: usize = 2;
/// Bounds how often the lease is stolen.
const FENCE_MAX: u8 = 4;
/// Bounds what a broken engine can do, so that its model ends too.
const COUNT_MAX: u8 = 2;

/// A rule of the engine that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Each request carries the attempt's key, and the gateway does the same thing once.
    GatewayKey,
    /// A time-out leaves the row at INTENT.
    TimeOutIsNoOutcome,
    /// When the gateway may have forgotten the key, it is asked by reference before anything is sent.
    LookUpAfterExpiry,
    /// The last step compares fence and recovery point.
    Fence,
    /// Nothing is sent so late that it could arrive after the key is forgotten.
    Margin,
    /// Business ids outlive keys.
    BusinessId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Charged,
    Declined,
    /// What a worker that takes a time-out for an outcome says.
    Failed,
}

/// The key's row, with the payment's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    fence: u8,
    lapsed: bool,
    hold: bool,
    review: bool,
    /// `None`: INTENT.
    finished: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Worker {
    Idle,
    /// T1 or the take-over is committed.
    Ready {
        fence: u8,
    },
    /// A request is sent.
    Waiting {
        fence: u8,
    },
    /// The outcome is known, T2 is to come.
    Knows {
        fence: u8,
        outcome: Outcome,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Message {
    Request { worker: usize, fence: u8 },
    Reply { worker: usize, fence: u8, outcome: Outcome },
}

/// How long the gateway will remember the attempt's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Window {
    Open,
    /// Too late to send.
    Closing,
    Expired,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    row: Option<Row>,
    business_id: bool,
    postings: u8,
    workers: [Worker; WORKERS],
    messages: Vec<Message>,
    window: Window,
    /// What the gateway did, findable by reference.
    done: Option<Outcome>,
    /// Whether it did that under the key of the present attempt.
    under_this_key: bool,
    charges: u8,
    /// What a client was told, and whether it was ever told something else.
    told: Option<Outcome>,
    told_otherwise: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// A worker serves a client's request, or is the completer: T1, take-over or replay.
    Serve(usize),
    Send(usize),
    LookUp(usize),
    TimeOut(usize),
    /// T2.
    Finish(usize),
    Crash(usize),
    Lapse,
    Process(usize, Outcome),
    Deliver(usize),
    Lose(usize),
    Webhook,
    Age,
    Reap,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) left_out: Option<Rule>,
}

impl World {
    fn keeps(&self, rule: Rule) -> bool {
        self.left_out != Some(rule)
    }

    /// What the gateway answers from memory.
    fn remembered(&self, state: &State) -> Option<Outcome> {
        let asked = self.keeps(Rule::GatewayKey) && state.under_this_key && state.window != Window::Expired;
        state.done.filter(|_| asked)
    }

    fn may_send(&self, window: Window) -> bool {
        match window {
            Window::Open => true,
            Window::Closing => !self.keeps(Rule::Margin),
            Window::Expired => !self.keeps(Rule::LookUpAfterExpiry),
        }
    }

    fn serve(&self, state: &mut State, worker: usize) -> bool {
        match &mut state.row {
            None if state.business_id && self.keeps(Rule::BusinessId) => return false,
            None => {
                let new = Row { fence: 1, lapsed: false, hold: true, review: false, finished: None };
                state.row = Some(new);
                state.business_id = true;
                // A new attempt has a key of its own.
                state.under_this_key = false;
                state.workers[worker] = Worker::Ready { fence: 1 };
            }
            Some(Row { finished: Some(outcome), .. }) => {
                state.told_otherwise |= state.told.is_some_and(|told| told != *outcome);
                state.told.get_or_insert(*outcome);
            }
            Some(row) if row.lapsed && !row.review && row.fence < FENCE_MAX => {
                row.fence += 1;
                row.lapsed = false;
                state.workers[worker] = Worker::Ready { fence: row.fence };
            }
            Some(_) => return false,
        }
        true
    }

    /// T2: posts or voids, and finishes.
    fn finish(&self, state: &mut State, fence: u8, outcome: Outcome) {
        let Some(row) = &mut state.row else { return };
        if self.keeps(Rule::Fence) && (row.fence != fence || row.finished.is_some()) {
            return;
        }
        row.finished = Some(outcome);
        row.hold = false;
        row.review = false;
        if outcome == Outcome::Charged {
            state.postings = (state.postings + 1).min(COUNT_MAX);
        }
    }

    fn look_up(&self, state: &mut State, worker: usize, fence: u8) {
        state.workers[worker] = match state.done {
            Some(outcome) => Worker::Knows { fence, outcome },
            None => {
                // Absent, and nothing that was sent can still arrive: for people. Before that: later.
                let row = state.row.as_mut().filter(|row| row.fence == fence && row.finished.is_none());
                if let Some(row) = row
                    && state.window == Window::Expired
                {
                    row.review = true;
                }
                Worker::Idle
            }
        };
    }

    fn process(&self, state: &mut State, index: usize, chosen: Outcome) -> bool {
        let Message::Request { worker, fence } = state.messages[index] else { return false };
        let outcome = match self.remembered(state) {
            // One of the two choices stands for the answer from memory.
            Some(_) if chosen == Outcome::Declined => return false,
            Some(outcome) => outcome,
            None => {
                if chosen == Outcome::Charged {
                    state.charges = (state.charges + 1).min(COUNT_MAX);
                }
                state.under_this_key = true;
                state.done = Some(state.done.filter(|done| *done == Outcome::Charged).unwrap_or(chosen));
                chosen
            }
        };
        state.messages[index] = Message::Reply { worker, fence, outcome };
        true
    }
}

impl Model for World {
    type State = State;
    type Action = Act;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            row: None,
            business_id: false,
            postings: 0,
            workers: [Worker::Idle; WORKERS],
            messages: Vec::new(),
            window: Window::Open,
            done: None,
            under_this_key: false,
            charges: 0,
            told: None,
            told_otherwise: false,
        }]
    }

    fn actions(&self, state: &State, acts: &mut Vec<Act>) {
        for (index, worker) in state.workers.iter().enumerate() {
            match worker {
                Worker::Idle => acts.push(Act::Serve(index)),
                Worker::Ready { .. } => {
                    if self.may_send(state.window) && state.messages.len() < MESSAGES_MAX {
                        acts.push(Act::Send(index));
                    }
                    if state.window != Window::Open {
                        acts.push(Act::LookUp(index));
                    }
                }
                Worker::Waiting { .. } => acts.push(Act::TimeOut(index)),
                Worker::Knows { .. } => acts.push(Act::Finish(index)),
            }
            if *worker != Worker::Idle {
                acts.push(Act::Crash(index));
            }
        }
        for index in 0..state.messages.len() {
            acts.extend([Act::Lose(index), Act::Deliver(index)]);
            acts.extend([Outcome::Charged, Outcome::Declined].map(|outcome| Act::Process(index, outcome)));
        }
        acts.extend([Act::Lapse, Act::Webhook, Act::Age, Act::Reap]);
    }

    fn next_state(&self, before: &State, act: Act) -> Option<State> {
        let mut state = before.clone();
        match act {
            Act::Serve(worker) => self.serve(&mut state, worker).then_some(())?,
            Act::Send(worker) => {
                let Worker::Ready { fence } = state.workers[worker] else { return None };
                state.messages.push(Message::Request { worker, fence });
                state.workers[worker] = Worker::Waiting { fence };
            }
            Act::LookUp(worker) => {
                let Worker::Ready { fence } = state.workers[worker] else { return None };
                self.look_up(&mut state, worker, fence);
            }
            Act::TimeOut(worker) => {
                let Worker::Waiting { fence } = state.workers[worker] else { return None };
                let failed = Worker::Knows { fence, outcome: Outcome::Failed };
                state.workers[worker] =
                    if self.keeps(Rule::TimeOutIsNoOutcome) { Worker::Idle } else { failed };
            }
            Act::Finish(worker) => {
                let Worker::Knows { fence, outcome } = state.workers[worker] else { return None };
                self.finish(&mut state, fence, outcome);
                state.workers[worker] = Worker::Idle;
            }
            Act::Crash(worker) => state.workers[worker] = Worker::Idle,
            Act::Lapse => {
                let row = state.row.as_mut().filter(|row| row.finished.is_none() && !row.lapsed)?;
                row.lapsed = true;
            }
            Act::Process(index, outcome) => self.process(&mut state, index, outcome).then_some(())?,
            Act::Deliver(index) => {
                let Message::Reply { worker, fence, outcome } = state.messages[index] else { return None };
                state.messages.remove(index);
                if state.workers[worker] == (Worker::Waiting { fence }) {
                    state.workers[worker] = Worker::Knows { fence, outcome };
                }
            }
            Act::Lose(index) => drop(state.messages.remove(index)),
            Act::Webhook => {
                // Under the row's lock, as its present holder.
                let (outcome, fence) =
                    (state.done?, state.row.as_ref().filter(|row| row.finished.is_none())?.fence);
                self.finish(&mut state, fence, outcome);
            }
            Act::Age => {
                let requests =
                    state.messages.iter().any(|message| matches!(message, Message::Request { .. }));
                state.window = match state.window {
                    Window::Open if state.row.is_some() => Window::Closing,
                    // What was sent in time has arrived by now or never will.
                    Window::Closing if !requests || !self.keeps(Rule::Margin) => Window::Expired,
                    _ => return None,
                };
            }
            Act::Reap => {
                state.row.as_ref().filter(|row| row.finished.is_some())?;
                state.row = None;
            }
        }
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_CHARGE, |_, state: &State| state.charges <= 1),
            Property::always(ONE_POSTING, |_, state: &State| state.postings <= 1),
            Property::always(RECORDED_AS_IT_WAS, |_, state: &State| {
                match state.row.as_ref().and_then(|row| row.finished) {
                    None => true,
                    Some(Outcome::Charged) => state.charges == 1 && state.postings == 1,
                    Some(Outcome::Declined | Outcome::Failed) => state.charges == 0 && state.postings == 0,
                }
            }),
            Property::always(SAME_ANSWER, |_, state: &State| !state.told_otherwise),
            Property::always(NO_HOLD_LEFT, |_, state: &State| {
                state.row.as_ref().is_none_or(|row| {
                    row.hold == row.finished.is_none() && !(row.review && row.finished.is_some())
                })
            }),
            Property::sometimes("charged after a take-over", |_, state: &State| {
                state.row.as_ref().is_some_and(|row| row.fence > 1 && row.finished == Some(Outcome::Charged))
            }),
            Property::sometimes("declined", |_, state: &State| state.told == Some(Outcome::Declined)),
            Property::sometimes("found by look-up after the key's expiry", |_, state: &State| {
                state.window == Window::Expired
                    && state.workers.iter().any(|worker| matches!(worker, Worker::Knows { fence: 2.., .. }))
            }),
            Property::sometimes("for people", |_, state: &State| {
                state.row.as_ref().is_some_and(|row| row.review)
            }),
            Property::sometimes("a late worker is discarded", |_, state: &State| {
                let row = state.row.as_ref().filter(|row| row.finished.is_some());
                row.is_some_and(|row| {
                    state
                        .workers
                        .iter()
                        .any(|worker| matches!(worker, Worker::Knows { fence, .. } if *fence < row.fence))
                })
            }),
            Property::sometimes("forgotten", |_, state: &State| state.row.is_none() && state.told.is_some()),
        ]
    }
}

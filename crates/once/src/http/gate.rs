//! Look-up and claim, with the answers that the contract has for them.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use trueup_core::env::BoxFuture;

use super::{
    problem::{Docs, Problem, ProblemKind, retry_after_s},
    stored::{replay, respond},
};
use crate::{
    engine::{Claim, Held, LookUp, Once, Ran, Request},
    error::{OnceError, Transient},
    key::StoredResponse,
    store::{Store, StoreErrorKind, Transaction},
};

/// `Retry-After` of a 202.
const ACCEPTED_RETRY_AFTER: Duration = Duration::from_secs(1);
/// `Retry-After` where the store is down.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// What a service finds at a place: its present state as an answer, or nothing.
pub type Found = Result<Option<Response>, Box<dyn Error + Send + Sync>>;

/// Reads the present state of what is at a place, for a principal.
type Present = dyn for<'a> Fn(&'a str, &'a str) -> BoxFuture<'a, Found> + Send + Sync;

/// The engine, with answers for HTTP.
#[derive(Clone)]
pub struct Gate<S> {
    once: Once<S>,
    docs: Docs,
    present: Option<Arc<Present>>,
}

impl<S: fmt::Debug> fmt::Debug for Gate<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("once", &self.once).field("docs", &self.docs).finish_non_exhaustive()
    }
}

/// A request whose key was looked up, and that may be claimed.
#[derive(Clone, Debug)]
pub struct Admitted {
    request: Request,
}

impl Admitted {
    /// The request.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }
}

/// A key that was claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is new: do the work from the beginning.
    New(Held),
    /// It was begun by a worker whose lease has ended: go on from [`Held::point`].
    Resume(Held),
}

/// What to answer instead of doing the work.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answered before: the same again.
    Replay(StoredResponse),
    /// Accepted before: read the state at `location` anew and answer with it. As a response, it is a 202 without a body.
    Accepted {
        /// Where the state can be found.
        location: String,
        /// Whether the work has ended.
        finished: bool,
    },
    /// Begun before under another key: the reference that its business id was given. As a response, it is a 409.
    Known {
        /// Where the outcome can be found, as given to [`BusinessId::new`](crate::BusinessId::new).
        reference: String,
        /// The problem to answer with, where the service has nothing better.
        problem: Box<Problem>,
    },
    /// A problem.
    Problem(Box<Problem>),
}

impl<S: Store> Gate<S> {
    /// The contract's answers for what `once` says.
    #[must_use]
    pub const fn new(once: Once<S>, docs: Docs) -> Self {
        Self { once, docs, present: None }
    }

    /// With the service's own way to the present state of what a request has made: `read(principal, place)`, where the place is a
    /// [`BusinessId`](crate::BusinessId)'s reference or a location. It reads from the database of record, and checks that the principal may see it.
    ///
    /// [`Gate::run`] and [`Gate::tell`] then answer a request whose business id is known (its key may be long forgotten) with that state, and
    /// one that was accepted, too, in place of a problem that only names the place.
    #[must_use]
    pub fn present<F>(mut self, read: F) -> Self
    where
        F: for<'a> Fn(&'a str, &'a str) -> BoxFuture<'a, Found> + Send + Sync + 'static,
    {
        self.present = Some(Arc::new(read));
        self
    }

    /// The engine.
    #[must_use]
    pub const fn once(&self) -> &Once<S> {
        &self.once
    }

    /// Where the contract is written down.
    #[must_use]
    pub const fn docs(&self) -> &Docs {
        &self.docs
    }

    /// Looks the key up, after the body was checked and before `If-Match` is: a repeat of what has succeeded is answered here.
    ///
    /// **Safe to repeat: yes.** It only reads.
    ///
    /// # Errors
    /// The [`Answer`] to give instead; 503 where the store does not answer.
    pub async fn look_up(&self, request: Request) -> Result<Admitted, Answer> {
        match self.once.look_up(&request).await {
            Ok(LookUp::New | LookUp::Lapsed) => Ok(Admitted { request }),
            Ok(seen) => Err(self.answer(seen.into())),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Claims the key in `tx`: see [`Once::claim`]. On an error roll `tx` back.
    ///
    /// **Safe to repeat: yes**, in a new transaction.
    ///
    /// # Errors
    /// The [`Answer`] to give instead; 503 where the store does not answer.
    pub async fn claim<T: Transaction>(&self, tx: &T, admitted: &Admitted) -> Result<Begun, Answer> {
        match self.once.claim(tx, &admitted.request).await {
            Ok(Claim::Granted(held)) => Ok(Begun::New(held)),
            Ok(Claim::Resumed(held)) => Ok(Begun::Resume(held)),
            Ok(other) => Err(self.answer(other)),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Does the whole of a request whose effects are all in the database: see [`Once::run`]. `work` gives the response that is
    /// kept, declines too.
    ///
    /// **Safe to repeat: yes**, as [`Once::run`].
    ///
    /// # Errors
    /// The error of `work`: everything was rolled back, and nothing is kept.
    pub async fn run<E, F>(&self, admitted: &Admitted, mut work: F) -> Result<Response, E>
    where
        E: Transient + Send + 'static,
        F: for<'a> FnMut(&'a S::Tx, &'a Held) -> BoxFuture<'a, Result<StoredResponse, E>> + Send,
    {
        let ran = self
            .once
            .run(&admitted.request, |tx, held| {
                let work = work(tx, held);
                Box::pin(async move { work.await.map_err(RunError::Work) })
            })
            .await;
        match ran {
            Ok(Ran::Fresh(response)) => Ok(respond(&response)),
            Ok(Ran::Not(claim)) => {
                Ok(self.tell(admitted.request.scope().principal(), self.answer(claim)).await)
            }
            Err(RunError::Once(error)) => Ok(self.failed(&error).into_response()),
            Err(RunError::Work(error)) => Err(error),
        }
    }

    /// `answer` as a response to `principal`: what was accepted before, and what was asked for before under another key, is answered with its present
    /// state, if the service has said [how to read it](Gate::present) and there is one.
    ///
    /// **Safe to repeat: yes.** It only reads.
    pub async fn tell(&self, principal: &str, answer: Answer) -> Response {
        let place = match &answer {
            Answer::Accepted { location, .. } => location,
            Answer::Known { reference, problem } if problem.status() == StatusCode::CONFLICT => reference,
            _ => return answer.into_response(),
        };
        let Some(read) = &self.present else { return answer.into_response() };
        match read(principal, place).await {
            Ok(Some(state)) => state,
            Ok(None) => answer.into_response(),
            Err(error) => {
                tracing::error!(%error, "the present state of what was asked for before cannot be read");
                let detail = "this was asked for before, and how it stands cannot be read now; nothing was done; repeat with the same key";
                let problem = self.problem(ProblemKind::Unavailable, detail);
                problem.retry_after(UNAVAILABLE_RETRY_AFTER).into_response()
            }
        }
    }

    /// The contract's answer to an error of the engine or the store: 409 where another transaction is in the way, 422 where what was asked is
    /// impossible, else 503.
    #[must_use]
    pub fn failed(&self, error: &OnceError) -> Answer {
        let problem = match error {
            OnceError::Store(store) if store.kind() == StoreErrorKind::Busy => self
                .problem(ProblemKind::InFlight, "another transaction is in the way; ask again")
                .retry_after(Duration::from_secs(1)),
            OnceError::Discarded { .. } => self
                .problem(
                    ProblemKind::InFlight,
                    "another worker has taken this request over; ask again for what came of it",
                )
                .retry_after(Duration::from_secs(1)),
            _ => {
                tracing::error!(%error, "a request was refused because it cannot be known whether it was done before");
                self.problem(ProblemKind::Unavailable, "it cannot be known now whether this was done before, so nothing was done; repeat with the same key")
                    .retry_after(UNAVAILABLE_RETRY_AFTER)
            }
        };
        Answer::Problem(Box::new(problem))
    }

    fn answer(&self, claim: Claim) -> Answer {
        let problem = match claim {
            Claim::Replay(response) => return Answer::Replay(response),
            Claim::Accepted { location, finished } => return Answer::Accepted { location, finished },
            Claim::Known(known) => {
                let (kind, detail) = if known.same {
                    (
                        ProblemKind::AlreadyRequested,
                        "this business id was requested before under another key; see `reference`",
                    )
                } else {
                    (
                        ProblemKind::BusinessIdReused,
                        "this business id was used before for something else; choose a new one",
                    )
                };
                let problem = self.problem(kind, detail).member("reference", known.reference.as_str());
                return Answer::Known { reference: known.reference, problem: Box::new(problem) };
            }
            Claim::InFlight { retry_after, location } => self
                .problem(
                    ProblemKind::InFlight,
                    "the first request with this key is being worked on; ask again",
                )
                .retry_after(retry_after)
                .location(location.as_deref()),
            Claim::Mismatch => self.problem(
                ProblemKind::KeyReused,
                "this key was used for another request; draw a new key for each thing that is wanted",
            ),
            // Of `run`, which does not return them.
            Claim::Granted(_) | Claim::Resumed(_) => self.problem(ProblemKind::InFlight, "ask again"),
        };
        Answer::Problem(Box::new(problem))
    }

    fn problem(&self, kind: ProblemKind, detail: &str) -> Problem {
        Problem::new(kind, &self.docs, detail)
    }
}

enum RunError<E> {
    Work(E),
    Once(OnceError),
}

impl<E: Transient> Transient for RunError<E> {
    fn is_transient(&self) -> bool {
        match self {
            Self::Work(error) => error.is_transient(),
            Self::Once(error) => error.is_transient(),
        }
    }
}

impl<E> From<OnceError> for RunError<E> {
    fn from(error: OnceError) -> Self {
        Self::Once(error)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Replay(stored) => replay(&stored),
            Self::Accepted { location, .. } => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::ACCEPTED;
                let headers = response.headers_mut();
                if let Ok(location) = HeaderValue::from_str(&location) {
                    headers.insert(header::LOCATION, location);
                }
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_s(ACCEPTED_RETRY_AFTER)));
                headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Self::Known { problem, .. } | Self::Problem(problem) => problem.into_response(),
        }
    }
}

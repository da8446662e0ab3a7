//! The whole of a request whose effects are all in the database, as one transaction.

use trueup_core::env::BoxFuture;

use super::{
    Once,
    claim::{Claim, LookUp, Request},
    held::{Held, Point},
};
use crate::{
    error::{OnceError, Transient},
    key::StoredResponse,
    limits::TRANSACTION_ATTEMPTS_MAX,
    store::{Owned as _, Store},
};

/// What came of [`Once::run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// The work was done now, and this is its answer.
    Fresh(StoredResponse),
    /// It was not: see why. Never [`Claim::Granted`] or [`Claim::Resumed`].
    Not(Claim),
}

impl<S: Store> Once<S> {
    /// Claims the key, runs `work`, keeps its response and commits, all in one transaction: for requests whose effects are all in the
    /// database. If `work` fails everything is rolled back, the claim too.
    ///
    /// `work` may be run several times (the database asks for that after a deadlock, and its errors say so by [`Transient`]); only the last
    /// one's effects remain.
    ///
    /// **Safe to repeat: yes.** Claim, effects and response are committed together or not at all, so a repeat either finds nothing
    /// and does the work, or finds the response. Where COMMIT's answer was lost the key is looked up.
    ///
    /// # Errors
    /// The error of `work`, or an [`OnceError`]: answer 503, nothing is done.
    pub async fn run<E, F>(&self, request: &Request, mut work: F) -> Result<Ran, E>
    where
        E: From<OnceError> + Transient,
        F: for<'a> FnMut(&'a S::Tx, &'a Held) -> BoxFuture<'a, Result<StoredResponse, E>> + Send,
    {
        let mut attempt = 1;
        loop {
            let attempted = match self.attempt(request, &mut work).await {
                Err(error) if error.is_transient() && attempt < TRANSACTION_ATTEMPTS_MAX => {
                    attempt += 1;
                    continue;
                }
                attempted => attempted?,
            };
            match attempted {
                Ok(ran) => return Ok(ran),
                Err(error) if error.is_unknown() => {
                    return match self.look_up(request).await? {
                        LookUp::New => Err(error.into()),
                        seen => Ok(Ran::Not(seen.into())),
                    };
                }
                Err(error) if error.is_transient() && attempt < TRANSACTION_ATTEMPTS_MAX => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The inner error is of the engine, and may be worth another attempt; the outer one is `work`'s own.
    async fn attempt<E, F>(&self, request: &Request, work: &mut F) -> Result<Result<Ran, OnceError>, E>
    where
        E: From<OnceError> + Transient,
        F: for<'a> FnMut(&'a S::Tx, &'a Held) -> BoxFuture<'a, Result<StoredResponse, E>> + Send,
    {
        let tx = match self.store().begin().await {
            Ok(tx) => tx,
            Err(error) => return Ok(Err(error.into())),
        };
        let held = match self.claim(&tx, request).await {
            Ok(Claim::Granted(held)) => held,
            Ok(Claim::Resumed(held)) if *held.point() == Point::STARTED => held,
            Ok(Claim::Resumed(held)) => {
                let why = format!("stands at {}; it was begun in steps, go on in steps", held.point().name());
                return Ok(Err(OnceError::invalid("the key", why)));
            }
            Ok(other) => {
                // Nothing was written; whether the rollback is heard does not matter.
                let _ = tx.rollback().await;
                return Ok(Ok(Ran::Not(other)));
            }
            Err(error) => return Ok(Err(error)),
        };
        let response = work(&tx, &held).await?;
        Ok(async {
            self.finish(&tx, &held, &response).await?;
            tx.commit().await?;
            Ok(Ran::Fresh(response))
        }
        .await)
    }
}

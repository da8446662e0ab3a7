//! Incidents: what happened to others, happening again beside a cache that keeps it from happening.
//!
//! Each file tells one story: the naive way, as a competent team writes it; the protected way, through Trueup on the same
//! database under the same load; and what is counted to tell whether the way holds. A third run has the protection taken
//! out: where it does not fail, the verdict proves nothing.

mod account;
mod avalanche;
mod avalanche_redis;
mod booking;
mod books;
mod cold_start;
mod composite;
mod counted;
mod crowd;
mod double_charge;
mod double_spend;
mod flash_sale;
mod gateway;
mod job;
mod keys;
mod local_tier;
mod lost_edit;
mod lost_message;
mod lost_update;
mod member;
mod network;
mod node;
mod outcome;
mod own_redis;
mod own_write;
mod penetration;
mod race;
mod redelivery;
mod search;
mod series;
mod servers;
mod shelf;
mod shop;
mod sql;
mod stampede;
mod stories;
#[cfg(test)]
mod tests;
mod wrong_user;

use std::{future::Future, pin::Pin, sync::Arc};

use serde::Serialize;

pub(crate) use self::{
    account::{Account, Beside},
    outcome::{Figure, Outcome, grouped},
    series::{Along, Series},
    servers::{Ground, Servers},
    stories::{INCIDENTS, NEED_REDIS},
};
use crate::world::LabError;

/// How an incident is run.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Chooses keys, waits and who comes when.
    pub(crate) seed: u64,
    /// A quarter of the load.
    pub(crate) quick: bool,
    /// The servers to run on; none: a SQLite file and a map of this process.
    pub(crate) full: Option<Arc<Servers>>,
}

impl Setup {
    /// `whole` calls, keys or clients, or the part of them that a quick run makes.
    fn scaled(&self, whole: usize) -> usize {
        if self.quick { whole.div_ceil(4) } else { whole }
    }
}

/// The way in which an incident's work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// As most teams write it.
    Naive,
    /// Through Trueup.
    Protected,
    /// The protected way without what protects it.
    Unprotected,
}

type Running = Pin<Box<dyn Future<Output = Result<Outcome, LabError>> + Send>>;

/// One incident.
pub(crate) struct Incident {
    pub(crate) name: &'static str,
    /// What happened, in a sentence or three.
    pub(crate) story: &'static str,
    /// What the naive side does.
    pub(crate) naive: &'static str,
    /// What keeps it from happening on the other side.
    pub(crate) protection: &'static str,
    /// What those who told the story measured.
    pub(crate) account: &'static [Account],
    run: fn(Setup, Way) -> Running,
}

impl Incident {
    /// Runs one way.
    ///
    /// # Errors
    /// When the way itself could not be run; what it did wrong is in its outcome.
    pub(crate) async fn run(&self, setup: Setup, way: Way) -> Result<Outcome, LabError> {
        (self.run)(setup, way).await
    }
}

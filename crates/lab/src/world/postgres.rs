//! A PostgreSQL server, a standby if asked for, and a proxy for each node.

use std::{net::SocketAddr, path::PathBuf};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use trueup_testbed::{Postgres, PostgresOptions, Stop};

use super::{LabError, Settings, sql::blocking};
use crate::proxy::{Proxy, Weather};

/// The name of the standby in `synchronous_standby_names`.
pub(crate) const STANDBY: &str = "lab_standby";

/// The servers. What blocks is told to the runtime.
#[derive(Debug)]
pub(crate) struct PostgresSource {
    servers: Mutex<Servers>,
    /// The primary's address. Writers ask for it while a server is being started or stopped.
    url: Mutex<String>,
    /// One before the primary for each node.
    proxies: Vec<Proxy>,
    copies: TempDir,
}

#[derive(Debug)]
struct Servers {
    primary: Postgres,
    standby: Option<Postgres>,
    /// A primary of before a promotion that was not fenced.
    old: Option<Postgres>,
}

impl PostgresSource {
    pub(super) async fn start(settings: &Settings) -> Result<Self, LabError> {
        let options = PostgresOptions::default()
            // Small, so that "beyond the cap" comes within a test.
            .set("max_wal_size", "64MB")
            .set("wal_keep_size", "0")
            .set("max_slot_wal_keep_size", "64MB");
        let primary = blocking(|| Ok(Postgres::start(&options)?))?;
        let mut proxies = Vec::new();
        for node in 0..settings.nodes {
            proxies.push(Proxy::start(local(primary.port()), settings.seed ^ node as u64).await?);
        }
        let url = Mutex::new(primary.url());
        let servers = Mutex::new(Servers { primary, standby: None, old: None });
        Ok(Self { servers, url, proxies, copies: tempfile::tempdir()? })
    }

    /// Straight to the primary.
    pub(crate) fn url(&self) -> String {
        self.url.lock().clone()
    }

    /// Straight to the primary of before, while it still runs.
    pub(crate) fn old_url(&self) -> Option<String> {
        self.servers.lock().old.as_ref().map(Postgres::url)
    }

    /// Through the node's proxy.
    pub(super) fn url_of(&self, node: usize) -> String {
        let url = self.url();
        let Some(proxy) = self.proxies.get(node) else { return url };
        let address = url.split_once('@').map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
        url.replace(address, &proxy.address().to_string())
    }

    /// The weather between a node and the database.
    pub(crate) fn weather(&self, node: usize, weather: Weather) {
        if let Some(proxy) = self.proxies.get(node) {
            proxy.set(weather);
        }
    }

    /// Does something with the primary that blocks.
    pub(crate) fn primary<T>(
        &self,
        work: impl FnOnce(&mut Postgres) -> Result<T, trueup_testbed::Failed>,
    ) -> Result<T, LabError> {
        blocking(|| Ok(work(&mut self.servers.lock().primary)?))
    }

    pub(crate) fn query(&self, sql: &str) -> Result<String, LabError> {
        self.primary(|primary| primary.query(sql))
    }

    pub(crate) fn set(&self, name: &str, value: &str) -> Result<(), LabError> {
        self.primary(|primary| primary.set(name, value))
    }

    /// Ends the primary at once and takes with it what it had not written: the postmaster and its children are killed.
    pub(crate) fn crash(&self) -> Result<(), LabError> {
        self.primary(|primary| primary.stop(Stop::Immediate))
    }

    pub(crate) fn start_again(&self) -> Result<(), LabError> {
        self.primary(Postgres::start_again)
    }

    /// Copies the files of the stopped primary, or puts the copy back.
    pub(crate) fn copy(&self) -> PathBuf {
        self.copies.path().join("copy")
    }

    /// Sends a signal to a backend that `query` names by its process id; false where there is none.
    pub(crate) fn signal_backend(&self, query: &str, signal: Signal) -> Result<bool, LabError> {
        let found = self.query(query)?;
        let Some(pid) =
            found.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw)
        else {
            return Ok(false);
        };
        kill_process(pid, signal)
            .map_err(|why| LabError::failed(format!("signalling process {pid:?}"), why))?;
        Ok(true)
    }

    /// Makes sure that a standby streams from the primary.
    pub(crate) fn ensure_standby(&self) -> Result<(), LabError> {
        blocking(|| {
            let mut servers = self.servers.lock();
            if servers.standby.is_none() {
                servers.standby = Some(servers.primary.standby(STANDBY)?);
            }
            Ok(())
        })
    }

    /// The standby hears nothing more of the primary: what is written from now on is lost when it is promoted.
    pub(crate) fn stall_standby(&self) -> Result<(), LabError> {
        blocking(|| match &self.servers.lock().standby {
            Some(standby) => Ok(standby.set("primary_conninfo", "")?),
            None => Ok(()),
        })
    }

    /// The standby becomes the primary, and everybody is led to it. The old one is stopped before, or left running.
    pub(crate) fn promote(&self, fenced: bool) -> Result<(), LabError> {
        blocking(|| {
            let mut servers = self.servers.lock();
            let Some(standby) = servers.standby.take() else {
                return Err(LabError::Unreachable("there is no standby to promote".to_owned()));
            };
            if fenced {
                servers.primary.stop(Stop::Immediate)?;
            }
            standby.promote()?;
            let address = local(standby.port());
            *self.url.lock() = standby.url();
            let old = std::mem::replace(&mut servers.primary, standby);
            servers.old = (!fenced).then_some(old);
            self.proxies.iter().for_each(|proxy| proxy.lead_to(address));
            Ok(())
        })
    }

    /// Ends a primary of before.
    pub(crate) fn end_old(&self) {
        drop(self.servers.lock().old.take());
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

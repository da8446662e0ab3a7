//! The watchdogs: one for each server, which connects it and finds out when it is of use again, and one for a cluster's slots.
//!
//! They are woken by trouble, and nothing that they do keeps a call waiting: a call that finds no server fails at once. Each
//! server has its own, so that one that hangs does not keep another from being connected.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future;
use trueup_core::env::{self, Task};

use super::{
    map::{View, view_commands},
    server::{Server, Shared},
    servers::Servers,
};
use crate::plan::RemoteNode;

/// How often a cluster is asked for its slots though nothing seems wrong.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Least pause between two attempts and between two looks, however much trouble there is.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Pause before a cluster is asked again that has a primary which is of no use.
const LOST_PAUSE: Duration = Duration::from_millis(200);
/// A server has this long to say what it knows of its cluster.
const VIEW_WITHIN: Duration = Duration::from_millis(300);
/// Most servers without a connection that are asked about the cluster at a time.
const STRANGERS_MAX: usize = 16;

/// Looks after one server for as long as it is held elsewhere.
pub(super) fn keep_server(server: &Arc<Server>) {
    let (weak, trouble) = (Arc::downgrade(server), Arc::clone(&server.trouble));
    let keeping = async move {
        while let Some(server) = weak.upgrade() {
            match server.due_in() {
                None => {
                    drop(server);
                    trouble.notified().await;
                }
                Some(Duration::ZERO) => {
                    server.revive().await;
                    drop(server);
                    tokio::time::sleep(PAUSE_MIN).await;
                }
                Some(wait) => {
                    drop(server);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    };
    // Ends by itself, with the server.
    let _ = env::spawn("remote server keeper", keeping);
}

/// Keeps a cluster's slots known for as long as the servers are held elsewhere.
pub(super) fn keep_map(servers: &Arc<Servers>) -> Task {
    let (weak, shared) = (Arc::downgrade(servers), Arc::clone(servers.shared()));
    env::spawn("remote tier keeper", keep_map_known(weak, shared))
}

async fn keep_map_known(servers: Weak<Servers>, shared: Arc<Shared>) {
    while let Some(held) = servers.upgrade() {
        let is_whole = held.learn().await && held.is_whole();
        drop(held);
        tokio::time::sleep(PAUSE_MIN).await;
        let pause = if is_whole { LOOK_EVERY } else { LOST_PAUSE };
        let _ = tokio::time::timeout(pause, shared.map_is_stale.notified()).await;
    }
}

impl Servers {
    /// Whether every server that holds slots is of use.
    fn is_whole(&self) -> bool {
        let map = self.map();
        let is_missing = |server: &Arc<Server>| !server.is_usable() && map.holds_slots(server);
        !map.servers.is_empty() && !map.servers.iter().any(is_missing)
    }

    /// Asks the cluster who holds what. False if nobody could tell.
    async fn learn(&self) -> bool {
        let map = self.map();
        let is_usable = |server: &&Arc<Server>| server.is_usable();
        let connected: Vec<_> = map.servers.iter().filter(is_usable).cloned().collect();
        // A replica may know better than the primaries left, and at first there are only the seeds.
        let strangers = match connected.len() {
            0 => self.other_addresses(&connected),
            some if some < map.servers.len() => self.other_addresses(&connected),
            _ => Vec::new(),
        };
        let of_connected = future::join_all(connected.iter().map(|server| view_of(server)));
        let strangers = strangers.iter().take(STRANGERS_MAX).map(|node| self.view_of_stranger(node));
        let (mut views, others) = future::join(of_connected, future::join_all(strangers)).await;
        views.extend(others);
        let is_down = |node: &RemoteNode| map.at(node).is_some_and(|server| !server.is_usable());
        let best = View::best(views.into_iter().flatten().collect(), is_down);
        if let Some(view) = &best {
            self.adopt(view);
        }
        best.is_some()
    }

    async fn view_of_stranger(&self, node: &RemoteNode) -> Option<View> {
        let asking = async {
            let mut connection = self.shared().connector.connect(node).await.ok()?;
            connection.send_packed_commands(&view_commands(), 0, 2).await.ok()
        };
        let answers = tokio::time::timeout(VIEW_WITHIN, asking).await.ok()??;
        View::read(&answers, node)
    }
}

async fn view_of(server: &Server) -> Option<View> {
    let answers = server.ask(&view_commands(), 2, VIEW_WITHIN).await?;
    View::read(&answers, &server.node)
}

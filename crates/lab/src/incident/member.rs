//! Where a node of a fleet tells the others what it knows: HTTP, as `trueup serve` does.

use std::convert::Infallible;

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use trueup::postgres::fleet::{Fleet, respond};
use trueup_core::env::{Task, spawn};

use crate::world::LabError;

/// A port that nobody is told of yet.
pub(super) struct Door {
    listener: TcpListener,
    url: String,
}

/// Answers those who follow, until it is dropped.
pub(super) struct Telling(Task);

impl Door {
    pub(super) async fn open() -> Result<Self, LabError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok(Self { listener, url })
    }

    /// What others are told.
    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    pub(super) fn tell(self, fleet: Fleet) -> Telling {
        Telling(spawn("lab fleet", async move {
            // Ends its connections when it is stopped.
            let mut followers = Vec::new();
            while let Ok((socket, _)) = self.listener.accept().await {
                let fleet = fleet.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let fleet = fleet.clone();
                    async move { Ok::<_, Infallible>(respond(&fleet, request.uri()).await) }
                });
                followers.push(Telling(spawn("lab follower", async move {
                    drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await);
                })));
            }
        }))
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.stop();
    }
}

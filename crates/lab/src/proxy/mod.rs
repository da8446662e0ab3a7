//! A TCP proxy whose weather can be changed: latency, a narrow band, silence, a cut, garbage.
//!
//! Of what others keep, Toxiproxy's port to Rust (`noxious` 1.0.4) could be embedded. It cannot corrupt what it carries, and
//! when its toxics change while a connection is open it swaps the two directions of that connection, so that a fault
//! would hit the wrong side. Toxiproxy itself is a program of another language that each machine would have to have. So:
//! one small pump.

mod pump;
#[cfg(test)]
mod tests;
mod weather;

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use trueup_core::env::{Task, spawn};

use self::pump::Side;
pub(crate) use self::weather::{Weather, one_way};

/// A proxy before one server. Everything it carries ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    upstream: Arc<Mutex<SocketAddr>>,
    weather: watch::Sender<Weather>,
    task: Task,
}

impl Proxy {
    /// A proxy on a free port of 127.0.0.1 before `upstream`; `seed` chooses waits, and which bytes it corrupts.
    pub(crate) async fn start(upstream: SocketAddr, seed: u64) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (weather, seen) = watch::channel(Weather::default());
        let upstream = Arc::new(Mutex::new(upstream));
        let task = spawn("lab proxy", accept(listener, Arc::clone(&upstream), seen, seed));
        Ok(Self { address, upstream, weather, task })
    }

    /// Where clients connect.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The weather from now on, for open connections too.
    pub(crate) fn set(&self, weather: Weather) {
        self.weather.send_modify(|now| *now = Weather { cuts: now.cuts, ..weather });
    }

    /// Leads new connections to another server, and cuts the open ones.
    pub(crate) fn lead_to(&self, upstream: SocketAddr) {
        *self.upstream.lock() = upstream;
        self.weather.send_modify(|now| now.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.stop();
        self.set(Weather::cut());
    }
}

async fn accept(
    listener: TcpListener,
    upstream: Arc<Mutex<SocketAddr>>,
    weather: watch::Receiver<Weather>,
    seed: u64,
) {
    let mut number = seed;
    while let Ok((client, _)) = listener.accept().await {
        number = number.wrapping_add(1);
        let (upstream, weather) = (Arc::clone(&upstream), weather.clone());
        // Ends with either side, or with the weather.
        spawn("lab proxy connection", async move { _ = carry(client, upstream, weather, number).await });
    }
}

async fn carry(
    client: TcpStream,
    upstream: Arc<Mutex<SocketAddr>>,
    mut weather: watch::Receiver<Weather>,
    seed: u64,
) -> std::io::Result<()> {
    let cuts = weather.borrow().cuts;
    if !pump::open(&mut weather, cuts).await {
        return Ok(());
    }
    // After the cuts were counted: whoever is led elsewhere later is cut.
    let upstream = *upstream.lock();
    let server = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let there = pump::pump(Side::Client, client_reads, server_writes, weather.clone(), cuts, !seed);
    let back = pump::pump(Side::Server, server_reads, client_writes, weather, cuts, seed);
    tokio::select! {
        ended = there => ended,
        ended = back => ended,
    }
}

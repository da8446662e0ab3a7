//! Both listeners of a node: bound, served, stopped.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use trueup::postgres::fleet::Fleet;
use trueup_core::env::{self, Task};

use crate::{
    http::{self, Bearer, Gate},
    node::Node,
    redis::Commands,
    resp, warm,
};

/// Port of the RESP server, unless stated.
pub const RESP_PORT_DEFAULT: u16 = 7379;
/// Port of the HTTP server, unless stated.
pub const HTTP_PORT_DEFAULT: u16 = 7380;

/// Where a node listens, and what it lets clients take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the RESP server; `None`: off. Port 0 takes any free port.
    pub resp: Option<SocketAddr>,
    /// Address of the HTTP server; `None`: off. Port 0 takes any free port.
    pub http: Option<SocketAddr>,
    /// What clients must present, over both protocols; needed on any address but loopback.
    pub secret: Option<String>,
    /// Settings of the RESP server, without its password.
    pub resp_config: resp::Config,
    /// Limits of the HTTP server.
    pub http_limits: http::Limits,
    /// What this node tells the others of its fleet.
    pub fleet: Option<Fleet>,
    /// What is read before anybody asks for it.
    pub warm: warm::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        let loopback = |port| Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        Self {
            resp: loopback(RESP_PORT_DEFAULT),
            http: loopback(HTTP_PORT_DEFAULT),
            secret: None,
            resp_config: resp::Config::default(),
            http_limits: http::Limits::default(),
            fleet: None,
            warm: warm::Settings::default(),
        }
    }
}

impl Settings {
    /// Gives requests in flight so long to finish when the server is asked to stop.
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.resp_config.stop_timeout = timeout;
        self.http_limits.stop_timeout = timeout;
        self
    }
}

/// A node could not listen.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Other machines could read everything.
    #[error(
        "{protocol} on {address} can be reached from other machines: name a token file (`--token-file PATH`, or \
         `password_file` under [server]), or listen on a loopback address such as 127.0.0.1:{port}", port = .address.port()
    )]
    NeedsToken {
        /// `RESP` or `HTTP`.
        protocol: &'static str,
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address cannot be had.
    #[error("{protocol} cannot listen on {address}: {source}; choose another with `--{flag}`", flag = .protocol.to_lowercase())]
    Bind {
        /// `RESP` or `HTTP`.
        protocol: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// A node that serves.
#[derive(Debug)]
pub struct Running {
    node: Node,
    resp: Option<SocketAddr>,
    http: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: Vec<Task>,
    fleet: Option<Fleet>,
}

/// Binds both listeners and begins to serve `node`.
///
/// # Errors
/// [`StartError`]; nothing is served then.
pub async fn start(node: Node, settings: Settings) -> Result<Running, StartError> {
    let has_secret = settings.secret.is_some();
    let resp = listen("RESP", settings.resp, has_secret).await?;
    let http = listen("HTTP", settings.http, has_secret).await?;
    let stop = CancellationToken::new();
    let fleet = settings.fleet.clone();
    // Before anybody can ask whether the node is ready.
    let tasks = warm::begin(&node, settings.warm, &stop);
    let mut running = Running { node, resp: None, http: None, stop, tasks, fleet };
    if let Some((listener, address)) = resp {
        running.resp = Some(address);
        let config = resp::Config {
            password: settings.secret.clone().map(resp::Password::new),
            ..settings.resp_config
        };
        running.serve_resp(listener, config);
    }
    if let Some((listener, address)) = http {
        running.http = Some(address);
        let gate = match &settings.secret {
            Some(secret) => Gate::Token(Bearer::new(secret)),
            None => Gate::Loopback,
        };
        let router = http::router(running.node.clone(), gate, &settings.http_limits, settings.fleet);
        let serving = http::serve(listener, router, settings.http_limits, running.stop.clone());
        running.tasks.push(env::spawn("HTTP server", serving));
    }
    Ok(running)
}

async fn listen(
    protocol: &'static str,
    address: Option<SocketAddr>,
    has_secret: bool,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    let Some(address) = address else { return Ok(None) };
    if !address.ip().is_loopback() && !has_secret {
        return Err(StartError::NeedsToken { protocol, address });
    }
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map(Some).map_err(|source| StartError::Bind { protocol, address, source })
}

impl Running {
    fn serve_resp(&mut self, listener: TcpListener, config: resp::Config) {
        let commands = Commands::new(self.node.clone());
        let counters = Arc::clone(self.node.resp_counters());
        let serving = resp::serve(listener, commands, config, counters, self.stop.clone());
        self.tasks.push(env::spawn("RESP server", serving));
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Where RESP is served.
    #[must_use]
    pub const fn resp(&self) -> Option<SocketAddr> {
        self.resp
    }

    /// Where HTTP is served.
    #[must_use]
    pub const fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Returns when a server has given up by itself.
    pub async fn failed(&self) {
        self.stop.cancelled().await;
    }

    /// Stops: takes no new connection, finishes what is in flight within the time to stop, and ends the feed.
    pub async fn stop(self) {
        self.node.begin_to_stop();
        // Followers would stay as long as they may: they find another node meanwhile.
        self.fleet.iter().for_each(Fleet::close);
        self.stop.cancel();
        for task in self.tasks {
            task.ended().await;
        }
        self.node.catalog().cache().shut_down().await;
    }
}

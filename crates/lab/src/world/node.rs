//! The nodes: processes of `trueup serve`, each with its own configuration, on addresses that outlive them.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use parking_lot::Mutex;
use rustix::process::Signal;
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream};
use trueup_core::env::Clock;
use trueup_testbed::{Server, free_port};

use super::{LabError, sql::blocking};

/// How long a node may take until it is ready. A debug build on a busy machine is slow.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two questions.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long one question may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// Seals entries of the remote tier, of servers that end with the run.
const SEAL: &str = "6c61622d7365616c2d6f662d6f6e652d72756e2d6f6e6c792d2d2d2d2d2d2d2d\n";

/// What every node is told.
#[derive(Clone, Debug)]
pub(crate) struct NodeSettings {
    pub(crate) binary: PathBuf,
    /// Where configurations and logs go.
    pub(crate) folder: PathBuf,
    /// The bound of every class.
    pub(crate) max_staleness: Duration,
}

/// A node, running or not.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) resp: SocketAddr,
    pub(crate) http: SocketAddr,
    settings: NodeSettings,
    arguments: Vec<String>,
    server: Mutex<Option<Server>>,
}

impl Node {
    /// A node of `source`, with a remote tier if one is given; not started yet.
    pub(crate) fn new(
        index: usize,
        settings: &NodeSettings,
        source: &str,
        l2: Option<&str>,
    ) -> Result<Self, LabError> {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (resp, http) = (address(free_port()?), address(free_port()?));
        let config = settings.folder.join(format!("node-{index}.toml"));
        let bound = settings.max_staleness.as_millis();
        let mut text = format!("[defaults]\nmax_staleness = \"{bound}ms\"\n");
        if l2.is_some() {
            // All nodes share one, else nobody could read what another has stored.
            let secret = settings.folder.join("seal");
            std::fs::write(&secret, SEAL)?;
            std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600))?;
            text.push_str(&format!("[l2]\nsecret_file = \"{}\"\n", secret.display()));
        }
        if l2.is_some() && source.starts_with("postgres") {
            // Nodes with slots of their own are in epochs of their own, and share no entries.
            let state = settings.folder.join(format!("state-{index}"));
            std::fs::create_dir_all(&state)?;
            text.push_str(&format!(
                "[fleet]\nadvertise = \"http://{http}\"\nstate_dir = \"{}\"\nsave_every = \"5s\"\n",
                state.display()
            ));
        }
        std::fs::write(&config, text)?;
        let mut arguments: Vec<String> = ["serve", "--install-feed", "--source", source, "--config"]
            .into_iter()
            .map(str::to_owned)
            .collect();
        arguments.push(config.to_string_lossy().into_owned());
        arguments.extend(["--resp".to_owned(), resp.to_string(), "--http".to_owned(), http.to_string()]);
        if let Some(l2) = l2 {
            arguments.extend(["--l2".to_owned(), l2.to_owned()]);
        }
        Ok(Self { index, resp, http, settings: settings.clone(), arguments, server: Mutex::new(None) })
    }

    /// Starts it. It is ready some time later.
    pub(crate) fn start(&self) -> Result<(), LabError> {
        let name = format!("node {}", self.index);
        let log = self.log();
        let server =
            blocking(|| Ok(Server::start(&name, &self.settings.binary, &self.arguments, None, &log)?))?;
        *self.server.lock() = Some(server);
        Ok(())
    }

    /// Where its output goes.
    fn log(&self) -> PathBuf {
        self.settings.folder.join(format!("node-{}.log", self.index))
    }

    /// Ends it as a power loss would.
    pub(crate) fn kill(&self) {
        // Killed when dropped.
        drop(self.server.lock().take());
    }

    /// Sends `signal`, if it runs.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), LabError> {
        match &*self.server.lock() {
            Some(server) => Ok(server.signal(signal)?),
            None => Ok(()),
        }
    }

    /// An error if it has ended by itself.
    pub(crate) fn check_alive(&self) -> Result<(), LabError> {
        match &mut *self.server.lock() {
            Some(server) => Ok(server.check_alive()?),
            None => Ok(()),
        }
    }

    /// Waits until it can prove answers.
    pub(crate) async fn ready(&self, clock: &Clock) -> Result<(), LabError> {
        let start = clock.now();
        loop {
            self.check_alive()?;
            let said = self.get("/readyz").await;
            if said.as_deref().is_ok_and(|said| said.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
            if clock.now().since(start) > READY_PATIENCE {
                let said = said.unwrap_or_else(|error| error.to_string());
                let last = said.lines().last().unwrap_or_default().to_owned();
                let what = format!("node {} was not ready within {READY_PATIENCE:?}", self.index);
                return Err(LabError::failed(what, last));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The whole answer to a question over HTTP.
    pub(crate) async fn get(&self, target: &str) -> Result<String, LabError> {
        let ask = async {
            let mut stream = TcpStream::connect(self.http).await?;
            let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = tokio::time::timeout(ASK_TIMEOUT, ask).await;
        answer.unwrap_or_else(|_| Err(LabError::failed(format!("node {}", self.index), "no answer in time")))
    }
}

/// The binary to run: the one asked for, or the one built beside this one.
pub(crate) fn binary(asked: Option<&Path>) -> Result<PathBuf, LabError> {
    let path = match asked {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("trueup"),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(LabError::Unreachable(format!(
        "there is no server at {}: build it by `cargo build --package trueup-server`, with the same profile, or name it by \
         `--server PATH`",
        path.display()
    )))
}

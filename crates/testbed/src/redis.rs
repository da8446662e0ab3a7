//! A Redis server.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{Failed, Server, eventually, free_port, process::installed};

/// How to start a server.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { program: "redis-server".into(), arguments: Vec::new() }
    }
}

impl RedisOptions {
    /// Sets a directive, such as `("maxmemory", "10mb")`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.arguments.push(format!("--{name}"));
        self.arguments.extend(value.split(' ').map(str::to_owned));
        self
    }

    /// Another server that speaks the same, such as `valkey-server`.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }
}

/// A Redis server, without persistence unless it is asked for.
#[derive(Debug)]
pub struct Redis {
    server: Option<Server>,
    folder: TempDir,
    port: u16,
    options: RedisOptions,
}

impl Redis {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// [`Failed`]; where a program is missing, with the package to install.
    pub fn start(options: &RedisOptions) -> Result<Self, Failed> {
        installed(&options.program, "redis-server")?;
        installed(Path::new("redis-cli"), "redis-tools")?;
        let folder = tempfile::Builder::new().prefix("trueup-redis-").tempdir();
        let folder = folder.map_err(|why| Failed::new("making a temporary folder", why))?;
        let mut this = Self { server: None, folder, port: free_port()?, options: options.clone() };
        this.start_again()?;
        Ok(this)
    }

    /// Starts a stopped server on the same port, and waits until it answers.
    ///
    /// # Errors
    /// [`Failed`] with the end of its log.
    pub fn start_again(&mut self) -> Result<(), Failed> {
        let folder = self.folder.path().to_string_lossy().into_owned();
        let mut arguments: Vec<String> =
            ["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir", &folder, "--save", ""]
                .map(str::to_owned)
                .to_vec();
        arguments.extend(["--daemonize", "no", "--protected-mode", "no"].map(str::to_owned));
        arguments.extend(self.options.arguments.iter().cloned());
        let name = format!("redis on port {}", self.port);
        let log = self.folder.path().join("log");
        let mut server = Server::start(&name, &self.options.program, &arguments, None, &log)?;
        let port = self.port;
        eventually(&format!("an answer of {name}"), || {
            server.check_alive()?;
            // Any answer at all: a password may be asked for, and the port may speak TLS alone.
            std::net::TcpStream::connect(("127.0.0.1", port))
                .map(drop)
                .map_err(|why| Failed::new("connecting", why))
        })?;
        self.server = Some(server);
        Ok(())
    }

    /// The process, while the server runs.
    #[must_use]
    pub const fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// Kills the server at once.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The folder in which the server runs, for certificates and the like.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Runs `redis-cli` with these arguments and returns what it prints.
    ///
    /// # Errors
    /// [`Failed`] when it fails, or the server answers with an error.
    pub fn cli(&self, arguments: &[&str]) -> Result<String, Failed> {
        cli(self.port, arguments)
    }
}

/// `redis-cli` at a port.
pub(crate) fn cli(port: u16, arguments: &[&str]) -> Result<String, Failed> {
    let mut command = Command::new("redis-cli");
    command.args(["-e", "-h", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
    let output = command.output().map_err(|why| Failed::new("starting redis-cli", why))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(Failed::program(std::ffi::OsStr::new("redis-cli"), &output))
    }
}

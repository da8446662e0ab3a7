//! The rival of the server's bench.

use std::net::SocketAddr;

use anyhow::Result;

use crate::{guard, process::Process, server::START};

/// A running `redis-server`.
#[derive(Debug)]
pub(crate) struct Redis {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _process: Process,
}

impl Redis {
    /// An empty one that writes nothing to disk.
    pub(crate) fn start() -> Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = guard::command("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let mut process = Process::start("redis-server", command)?;
        process.ready(START, |line| line.contains("Ready to accept connections"))?;
        Ok(Self { address: SocketAddr::from(([127, 0, 0, 1], port)), _process: process })
    }
}

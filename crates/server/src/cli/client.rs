//! Asking a running server over HTTP: one request, one answer.

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    path::PathBuf,
    time::Duration,
};

use clap::ValueHint;
use serde::de::DeserializeOwned;
use trueup::plan::SecretFile;

use super::{Failure, setup};

/// Time to connect, and again to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most that is read of an answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A running server, and how it is asked.
#[derive(Debug)]
pub(super) struct Server<'a> {
    /// `HOST:PORT` of its HTTP side.
    pub(super) address: &'a str,
    pub(super) token: &'a TokenArgs,
}

/// How to be let in.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct TokenArgs {
    /// A file with the server's token
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
}

impl Server<'_> {
    /// `GET target`, read as JSON; a refusal is told in the server's own words.
    pub(super) fn get_json<T: DeserializeOwned>(&self, target: &str) -> Result<T, Failure> {
        self.ask(&Request { method: "GET", target, body: None, patience: PATIENCE })
    }
}

impl Server<'_> {
    /// `POST target` with `body` as JSON, whose answer is JSON; it may take so long.
    pub(super) fn post_json<T: DeserializeOwned>(
        &self,
        target: &str,
        body: &impl serde::Serialize,
        patience: Duration,
    ) -> Result<T, Failure> {
        let body = serde_json::to_string(body)
            .map_err(|error| Failure::Usage(format!("the request cannot be written as JSON: {error}")))?;
        self.ask(&Request { method: "POST", target, body: Some(&body), patience })
    }

    /// `GET target`, as it is.
    pub(super) fn get_text(&self, target: &str) -> Result<String, Failure> {
        self.ask_text(&Request { method: "GET", target, body: None, patience: PATIENCE })
    }

    fn ask<T: DeserializeOwned>(&self, request: &Request<'_>) -> Result<T, Failure> {
        let body = self.ask_text(request)?;
        serde_json::from_str(&body)
            .map_err(|_| Failure::Unreachable(format!("what listens at {} is another version", self.address)))
    }

    fn ask_text(&self, request: &Request<'_>) -> Result<String, Failure> {
        let address = self.address;
        let token = self.token.token_file.as_ref().map(|path| setup::token(&SecretFile(path.clone())));
        let (status, body) = exchange(address, request, token.transpose()?.as_deref())?;
        if status == 200 {
            return Ok(body);
        }
        let problem: Option<serde_json::Value> = serde_json::from_str(&body).ok();
        let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
        Err(Failure::Usage(detail.map_or_else(|| format!("{address} answers {status}"), str::to_owned)))
    }
}

/// One request.
struct Request<'a> {
    method: &'static str,
    target: &'a str,
    body: Option<&'a str>,
    /// How long the answer may take.
    patience: Duration,
}

/// An address as a browser's line has it is meant as `HOST:PORT`, too.
fn host_and_port(address: &str) -> &str {
    address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/')
}

/// Asks the server at `address` (`HOST:PORT`).
fn exchange(address: &str, request: &Request<'_>, token: Option<&str>) -> Result<(u16, String), Failure> {
    let address = host_and_port(address);
    let Request { method, target, body, patience } = *request;
    let refused = |error: std::io::Error| {
        Failure::Unreachable(format!("{address} does not answer: {error}; does `trueup serve` run there?"))
    };
    let first = address.to_socket_addrs().map_err(refused)?.next();
    let resolved =
        first.ok_or_else(|| Failure::Usage(format!("{address:?} is no address: write HOST:PORT")))?;
    let mut stream = TcpStream::connect_timeout(&resolved, PATIENCE).map_err(refused)?;
    stream.set_read_timeout(Some(patience)).map_err(refused)?;
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let content = body.map_or_else(String::new, |body| {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    });
    let body = body.unwrap_or_default();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\n{authorization}{content}Connection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).map_err(refused)?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).map_err(refused)?;
    let text = String::from_utf8_lossy(&bytes);
    parse(&text).ok_or_else(|| Failure::Unreachable(format!("what listens at {address} speaks no HTTP")))
}

/// Status and body of an answer with a length.
fn parse(text: &str) -> Option<(u16, String)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_out_of_a_browser_will_do() {
        for address in ["127.0.0.1:7380", "http://127.0.0.1:7380", "http://127.0.0.1:7380/"] {
            assert_eq!(host_and_port(address), "127.0.0.1:7380");
        }
    }
}

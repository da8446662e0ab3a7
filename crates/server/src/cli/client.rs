//! Asking a running server over HTTP: one request, one answer.

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use super::Failure;

/// Time to connect, and again to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most that is read of an answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// `GET target` of the server at `address` (`HOST:PORT`).
pub(super) fn get(address: &str, target: &str, token: Option<&str>) -> Result<(u16, String), Failure> {
    let refused = |error: std::io::Error| {
        Failure::Unreachable(format!("{address} does not answer: {error}; does `trueup serve` run there?"))
    };
    let first = address.to_socket_addrs().map_err(refused)?.next();
    let resolved =
        first.ok_or_else(|| Failure::Usage(format!("{address:?} is no address: write HOST:PORT")))?;
    let mut stream = TcpStream::connect_timeout(&resolved, PATIENCE).map_err(refused)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(refused)?;
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{authorization}Connection: close\r\n\r\n");
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

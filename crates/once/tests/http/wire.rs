//! A client that sees every byte.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(self.header("link"), Some("<https://docs.example/once>; rel=\"describedby\""));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        problem["type"].as_str().unwrap().strip_prefix("https://docs.example/once#").unwrap().to_owned()
    }

    /// Without what belongs to the moment, and the mark of a repeat.
    pub(crate) fn kept(&self) -> Self {
        let mut kept = self.clone();
        kept.headers.retain(|(name, _)| !["date", "idempotent-replayed"].contains(&name.as_str()));
        kept.headers.sort();
        kept
    }
}

/// Sends one request, `head` being its first line and headers.
pub(crate) async fn send(to: SocketAddr, head: &str, body: &str) -> Answer {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let mut text = String::new();
    for line in head.lines().map(str::trim).filter(|line| !line.is_empty()) {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str(&format!(
        "host: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).await.unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.map(|line| line.split_once(": ").map_or((line.trim_end_matches(':'), ""), |pair| pair));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Answer { status, headers, body: bytes[end + 4..].to_vec() }
}

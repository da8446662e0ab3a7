//! A connection that is kept, on which requests are sent ahead: the server answers them in their order, and works on one at a time.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// Requests on their way at once.
const AHEAD_MAX: usize = 32;
const ANSWER_WAIT: Duration = Duration::from_secs(60);

pub(crate) struct Wire {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    bearer: String,
    /// What each request on its way is to be answered with.
    expected: VecDeque<u16>,
}

impl Wire {
    pub(crate) async fn open(to: SocketAddr, bearer: &str) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (read, write) = stream.into_split();
        Self { read: BufReader::new(read), write, bearer: bearer.to_owned(), expected: VecDeque::new() }
    }

    /// Sends a request under a new key. It is to be answered with `status`, which is seen to later.
    pub(crate) async fn post(&mut self, path: &str, body: &serde_json::Value, status: u16) {
        let key = crate::support::id();
        let body = body.to_string();
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\nidempotency-key: {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.bearer,
            body.len()
        );
        self.write.write_all(text.as_bytes()).await.unwrap();
        self.expected.push_back(status);
        if self.expected.len() >= AHEAD_MAX {
            self.answer().await;
        }
    }

    /// Waits until everything was answered as it was to be.
    pub(crate) async fn settle(&mut self) {
        while !self.expected.is_empty() {
            self.answer().await;
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> serde_json::Value {
        self.settle().await;
        let text =
            format!("GET {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\n\r\n", self.bearer);
        self.write.write_all(text.as_bytes()).await.unwrap();
        self.expected.push_back(200);
        serde_json::from_slice(&self.answer().await).unwrap()
    }

    async fn answer(&mut self) -> Vec<u8> {
        let expected = self.expected.pop_front().unwrap();
        let (status, body) =
            tokio::time::timeout(ANSWER_WAIT, self.read_one()).await.expect("an answer in time");
        assert_eq!(status, expected, "{}", String::from_utf8_lossy(&body));
        body
    }

    async fn read_one(&mut self) -> (u16, Vec<u8>) {
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.read.read_line(&mut line).await.unwrap();
            match line.trim_end().split_once(' ') {
                Some((version, rest)) if version.starts_with("HTTP/") => {
                    status = rest[..3].parse().unwrap();
                }
                Some((name, value)) if name.eq_ignore_ascii_case("content-length:") => {
                    length = value.parse().unwrap();
                }
                None => break,
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        self.read.read_exact(&mut body).await.unwrap();
        (status, body)
    }
}

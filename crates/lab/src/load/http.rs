//! One connection that asks over HTTP, a question at a time: the little that a session needs.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::world::LabError;

/// Longest body that is read, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// An answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) token: Option<String>,
    pub(super) cache_status: String,
    pub(super) body: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Http {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Http {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self, LabError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    /// `GET target`, with a session's token.
    pub(super) async fn get(&mut self, target: &str, token: Option<&str>) -> Result<Answer, LabError> {
        let token = token.map(|token| format!("Trueup-Token: {token}\r\n")).unwrap_or_default();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{token}\r\n", self.address);
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        let mut answer = Answer { status: status(&self.line().await?)?, ..Answer::default() };
        let mut length = 0;
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap_or(0),
                "trueup-token" => answer.token = Some(value.to_owned()),
                "cache-status" => value.clone_into(&mut answer.cache_status),
                _ => {}
            }
        }
        answer.body = vec![0; usize::min(length, BODY_BYTES_MAX)];
        self.stream.read_exact(&mut answer.body).await?;
        Ok(answer)
    }

    async fn line(&mut self) -> Result<String, LabError> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(LabError::Unreachable("the node has closed the connection".to_owned()));
        }
        Ok(line.trim_end().to_owned())
    }
}

fn status(line: &str) -> Result<u16, LabError> {
    let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    code.ok_or_else(|| LabError::Unreachable(format!("no HTTP status line: {line:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_has_a_code() {
        assert_eq!(status("HTTP/1.1 404 Not Found").unwrap(), 404);
        assert!(status("-ERR no").is_err());
    }
}

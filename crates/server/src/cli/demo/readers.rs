//! The demo's readers: over real sockets, as any client would.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use trueup_core::env::{self, Task, random};

use super::bank::{ACCOUNTS, SUM_OF_BALANCES};
use crate::serve::Running;

/// Connections that read single accounts over RESP.
const RESP_READERS: usize = 4;
/// Commands of one pipeline.
const PIPELINE: usize = 32;
/// Pause between two pipelines of one reader.
const PIPELINE_PAUSE: Duration = Duration::from_millis(5);
/// Pause between two requests over HTTP.
const HTTP_PAUSE: Duration = Duration::from_millis(10);
/// Pause between two audits.
const AUDIT_PAUSE: Duration = Duration::from_secs(1);
/// Of ten reads, so many are of one account in a hundred.
const HOT_READS_OF_TEN: u64 = 8;

/// What the readers have found.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Times all balances were read in one state and added up.
    pub(super) audits: AtomicU64,
    /// Times the sum was wrong: a transfer was seen half done.
    pub(super) wrong_sums: AtomicU64,
    /// Answers that were errors.
    pub(super) errors: AtomicU64,
}

/// Readers at work.
pub(super) struct Readers(Vec<Task>);

impl Readers {
    pub(super) fn start(running: &Running, counts: &Arc<Counts>) -> Self {
        let mut tasks = Vec::new();
        if let Some(address) = running.resp() {
            for _ in 0..RESP_READERS {
                tasks.push(reader(counts, "RESP reader", move |counts| read_accounts(address, counts)));
            }
            tasks.push(reader(counts, "auditor", move |counts| audit(address, counts)));
        }
        if let Some(address) = running.http() {
            tasks.push(reader(counts, "HTTP reader", move |counts| read_over_http(address, counts)));
        }
        Self(tasks)
    }

    pub(super) async fn stop(self) {
        for task in self.0 {
            task.stop();
            task.ended().await;
        }
    }
}

fn reader<F>(counts: &Arc<Counts>, name: &'static str, read: impl FnOnce(Arc<Counts>) -> F) -> Task
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let reading = read(Arc::clone(counts));
    env::spawn(name, async move {
        if let Err(error) = reading.await {
            tracing::warn!(reader = name, %error, "a reader of the demo has ended");
        }
    })
}

/// Some accounts are read far more often than others, as in life.
fn some_account() -> i64 {
    let among =
        if random::number() % 10 < HOT_READS_OF_TEN { ACCOUNTS as u64 / 100 } else { ACCOUNTS as u64 };
    (random::number() % among) as i64 + 1
}

async fn read_accounts(address: SocketAddr, counts: Arc<Counts>) -> std::io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    loop {
        let request: String = (0..PIPELINE).map(|_| format!("GET account:{}\r\n", some_account())).collect();
        stream.write_all(request.as_bytes()).await?;
        for _ in 0..PIPELINE {
            if bulk(&mut stream).await?.is_none() {
                counts.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(PIPELINE_PAUSE).await;
    }
}

/// Reads every account in one state of the database, and adds up.
async fn audit(address: SocketAddr, counts: Arc<Counts>) -> std::io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    let keys: String = (1..=ACCOUNTS).map(|id| format!(" {id}")).collect();
    let request = format!("TRUEUP.MGET account {ACCOUNTS}{keys} CONSISTENT\r\n");
    loop {
        stream.write_all(request.as_bytes()).await?;
        match sum(&mut stream).await? {
            Some(sum) => {
                counts.audits.fetch_add(1, Ordering::Relaxed);
                counts.wrong_sums.fetch_add(u64::from(sum != SUM_OF_BALANCES), Ordering::Relaxed);
            }
            None => {
                counts.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(AUDIT_PAUSE).await;
    }
}

/// The sum of the balances in a reply; none if the reply is an error.
async fn sum(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<i64>> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if !line.starts_with('*') {
        return Ok(None);
    }
    let mut sum = 0;
    for _ in 0..ACCOUNTS {
        let mut head = String::new();
        stream.read_line(&mut head).await?;
        let value = bulk(stream).await?.unwrap_or_default();
        let row: serde_json::Value = serde_json::from_slice(&value)?;
        sum += row["balance"].as_i64().unwrap_or(0);
        // Version, age and origin follow.
        let mut age = String::new();
        bulk(stream).await?;
        stream.read_line(&mut age).await?;
        bulk(stream).await?;
    }
    Ok(Some(sum))
}

/// A bulk string; none for nil and for errors.
async fn bulk(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let Some(length) = line.strip_prefix('$').and_then(|length| length.trim_end().parse::<usize>().ok())
    else {
        return Ok(None);
    };
    let mut value = vec![0; length + 2];
    stream.read_exact(&mut value).await?;
    value.truncate(length);
    Ok(Some(value))
}

async fn read_over_http(address: SocketAddr, counts: Arc<Counts>) -> std::io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    loop {
        let account = some_account();
        let request = format!("GET /v1/account/{account} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let (mut status, mut length) = (String::new(), 0);
        stream.read_line(&mut status).await?;
        loop {
            let mut header = String::new();
            if stream.read_line(&mut header).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if header == "\r\n" {
                break;
            }
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        stream.read_exact(&mut vec![0; length]).await?;
        if !status.starts_with("HTTP/1.1 200") {
            counts.errors.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(HTTP_PAUSE).await;
    }
}

//! Reading from the node that holds the slot.

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::{Body as _, Incoming},
    client::conn::http1,
    header::{AUTHORIZATION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use trueup_core::{
    entry::EpochId,
    env::spawn,
    proof::{Position, SavedLedger},
};

use super::{
    message::{LENGTH_BYTES, MESSAGE_BYTES_MAX, Told},
    options::FleetToken,
    serve::{FROM_HEADER, LEDGER_PATH, STREAM_PATH},
};
use crate::postgres::identity::Instance;

/// How long connecting, and the first words of an answer, may take.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// The holder says something every half second: after so long in silence it is dead.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long a ledger may take to arrive.
const LEDGER_WAIT: Duration = Duration::from_secs(30);
/// Largest ledger: 64 M buckets.
const LEDGER_BYTES_MAX: usize = 1 << 30;

/// Why the holder cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CannotFollow {
    /// What follows is not held there any more.
    #[error("what follows this node's position is not held there any more")]
    Gone,
    /// It is in another epoch.
    #[error("it is in another epoch")]
    OtherEpoch,
    /// Anything else.
    #[error("{0}")]
    Problem(String),
}

/// A node that may hold the slot.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    authority: String,
    token: Option<FleetToken>,
    instance: Instance,
}

impl Holder {
    /// The node at `address`, `http://host:port`, as long as it tells the log of `instance`.
    pub(super) fn new(
        address: &str,
        token: Option<FleetToken>,
        instance: Instance,
    ) -> Result<Self, CannotFollow> {
        let uri: Option<Uri> = address.parse().ok();
        let authority =
            uri.filter(|uri| uri.scheme_str() == Some("http")).and_then(|uri| uri.authority().cloned());
        let wrong = || CannotFollow::Problem("its address must be of the form `http://host:port`".to_owned());
        Ok(Self { authority: authority.ok_or_else(wrong)?.to_string(), token, instance })
    }

    /// What a new node begins with.
    pub(super) async fn ledger(&self) -> Result<SavedLedger, CannotFollow> {
        let answer = self.get(format!("{LEDGER_PATH}?instance={}", self.instance.0)).await?;
        let whole =
            tokio::time::timeout(LEDGER_WAIT, Limited::new(answer.1, LEDGER_BYTES_MAX).collect()).await;
        let whole = whole.map_err(|_| problem("its ledger did not arrive in time"))?;
        let bytes = whole.map_err(|e| problem(&format!("its ledger did not arrive: {e}")))?.to_bytes();
        SavedLedger::decode(&bytes).map_err(|e| problem(&format!("its ledger cannot be read: {e}")))
    }

    /// The messages after `from`, or from now on; and from where that is.
    pub(super) async fn stream(
        &self,
        epoch: EpochId,
        from: Option<Position>,
    ) -> Result<(Position, Stream), CannotFollow> {
        let from = from.map_or_else(|| "now".to_owned(), |from| from.0.to_string());
        let instance = self.instance.0;
        let path = format!("{STREAM_PATH}?epoch={epoch}&from={from}&instance={instance}");
        let (told, body) = self.get(path).await?;
        let told = told.ok_or_else(|| problem("its answer does not say from where it tells"))?;
        Ok((Position(told), Stream { body, buffer: BytesMut::new() }))
    }

    async fn get(&self, path: String) -> Result<(Option<u64>, Incoming), CannotFollow> {
        let answer = async {
            let socket = TcpStream::connect(&self.authority)
                .await
                .map_err(|e| problem(&format!("cannot connect: {e}")))?;
            drop(socket.set_nodelay(true));
            let failed = |e: hyper::Error| problem(&format!("it does not answer: {e}"));
            let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(failed)?;
            // Ends with the body that is read.
            spawn("a connection to the holder", async move { drop(connection.await) });
            let mut request = Request::get(path).header(HOST, &self.authority);
            if let Some(token) = &self.token {
                request = request.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
            }
            let request = request.body(Empty::<Bytes>::new()).map_err(|e| problem(&e.to_string()))?;
            sender.send_request(request).await.map_err(failed)
        };
        let answer = tokio::time::timeout(ANSWER_WAIT, answer).await;
        let answer = answer.map_err(|_| problem("it does not answer in time"))??;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::GONE => return Err(CannotFollow::Gone),
            StatusCode::CONFLICT => return Err(CannotFollow::OtherEpoch),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(problem(
                    "it refuses this node's token; set the same token on all nodes of the fleet",
                ));
            }
            status => return Err(problem(&format!("it answers {status}"))),
        }
        let from = answer.headers().get(FROM_HEADER).and_then(|from| from.to_str().ok()?.parse().ok());
        Ok((from, answer.into_body()))
    }
}

fn problem(what: &str) -> CannotFollow {
    CannotFollow::Problem(what.to_owned())
}

/// Messages as they arrive.
pub(super) struct Stream {
    body: Incoming,
    buffer: BytesMut,
}

impl Stream {
    /// The next message. May be dropped while it waits: nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Told, CannotFollow> {
        loop {
            if let Some(told) = self.take()? {
                return Ok(told);
            }
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame =
                tokio::time::timeout(SILENCE_MAX, frame).await.map_err(|_| problem("it is silent"))?;
            let frame = frame.ok_or_else(|| problem("it has ended the stream"))?;
            let frame = frame.map_err(|e| problem(&format!("the stream broke: {e}")))?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    fn take(&mut self) -> Result<Option<Told>, CannotFollow> {
        loop {
            let Some((length, _)) = self.buffer.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
            let length = u32::from_le_bytes(*length) as usize;
            if length > MESSAGE_BYTES_MAX {
                return Err(problem("it tells a message that is too long"));
            }
            if self.buffer.len() < LENGTH_BYTES + length {
                return Ok(None);
            }
            let whole = self.buffer.split_to(LENGTH_BYTES + length);
            // An empty one says that the holder is alive.
            if length > 0 {
                let told = Told::decode(&whole[LENGTH_BYTES..]).map_err(|e| problem(&e.to_string()))?;
                return Ok(Some(told));
            }
        }
    }
}

//! What a node tells others over HTTP: to be mounted by whoever serves HTTP, behind its own gate.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Response, StatusCode, Uri,
    body::{Body, Frame},
    header::CONTENT_TYPE,
};
use tokio::sync::mpsc;
use trueup_core::{entry::EpochId, env::spawn, proof::Position};

use super::{message::LENGTH_BYTES, node::Fleet, ring::After};

/// The stream of messages: `?epoch=` (32 hexadecimal digits) `&from=` (a position, or `now`). With `&instance=`, only while what
/// this node tells is known to be the log of that start of the server.
pub const STREAM_PATH: &str = "/v1/feed";
/// What a new node begins with; `?instance=` as for the stream.
pub const LEDGER_PATH: &str = "/v1/feed/ledger";
/// Says from where a stream that was asked for `from=now` tells.
pub(super) const FROM_HEADER: &str = "trueup-from";
/// After so long without a message an empty one is sent, so that a dead connection shows.
pub(super) const KEEPALIVE_EVERY: Duration = Duration::from_millis(500);
/// Messages that wait for a slow reader.
const WAITING_MAX: usize = 4;

/// The body of an answer.
pub struct FeedBody(Inner);

enum Inner {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<Bytes>),
}

impl Body for FeedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.get_mut().0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Stream(messages) => {
                messages.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }
}

/// Answers a GET of [`STREAM_PATH`] or [`LEDGER_PATH`]. Whether the asker may is decided before.
///
/// 404 for other paths, 400 for a query that cannot be read, 409 where this node is in another epoch, 410 where what
/// follows the position is not held any more, 503 while this node has nothing to tell, or tells another start of the server.
pub async fn respond(fleet: &Fleet, uri: &Uri) -> Response<FeedBody> {
    let query = uri.query().unwrap_or_default();
    if !tells(fleet, query) {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "this node does not tell that start of the server, or not yet; ask again",
        );
    }
    match uri.path() {
        LEDGER_PATH => match fleet.ledger().await {
            Some(bytes) => whole(StatusCode::OK, "application/octet-stream", bytes.into()),
            None => problem(StatusCode::SERVICE_UNAVAILABLE, "this node has no floor yet; ask again"),
        },
        STREAM_PATH => stream(fleet, query),
        _ => problem(StatusCode::NOT_FOUND, "there is no such page of the feed"),
    }
}

/// Whether what this node tells is of the server that the asker is connected to.
fn tells(fleet: &Fleet, query: &str) -> bool {
    let Some(asked) = part(query, "instance") else { return true };
    fleet.memory().instance.is_some_and(|instance| asked.parse() == Ok(instance.0))
}

fn part<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut parts = query.split('&').filter_map(|part| part.split_once('='));
    parts.find(|(given, _)| *given == name).map(|(_, value)| value)
}

fn stream(fleet: &Fleet, query: &str) -> Response<FeedBody> {
    let epoch = part(query, "epoch").and_then(|epoch| epoch.parse::<EpochId>().ok());
    let from = part(query, "from").filter(|from| *from == "now" || from.parse::<u64>().is_ok());
    let (Some(epoch), Some(from)) = (epoch, from) else {
        return problem(
            StatusCode::BAD_REQUEST,
            "ask for `?epoch=` 32 hexadecimal digits `&from=` a position or `now`",
        );
    };
    let Some((told, newest)) = fleet.ring().newest() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "this node has told nothing yet; ask again");
    };
    if told != epoch {
        return problem(StatusCode::CONFLICT, "this node is in another epoch");
    }
    let from = from.parse().map_or(newest, Position);
    if fleet.ring().after(epoch, from) == After::Gone {
        return problem(StatusCode::GONE, "what follows that position is not held any more");
    }
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let teller = fleet.clone();
    spawn("telling a follower", async move { tell(&teller, epoch, from, &sender).await });
    let mut response = Response::new(FeedBody(Inner::Stream(receiver)));
    response.headers_mut().insert(FROM_HEADER, from.0.into());
    response
}

/// Tells until the reader is gone, or what follows is.
async fn tell(fleet: &Fleet, epoch: EpochId, mut at: Position, to: &mpsc::Sender<Bytes>) {
    loop {
        let moved = fleet.ring().moved();
        match fleet.ring().after(epoch, at) {
            After::Messages(messages, end) => {
                for message in messages {
                    if to.send(message).await.is_err() {
                        return;
                    }
                }
                at = end;
            }
            After::Nothing => {
                if tokio::time::timeout(KEEPALIVE_EVERY, moved).await.is_err()
                    && to.send(Bytes::from_static(&[0; LENGTH_BYTES])).await.is_err()
                {
                    return;
                }
            }
            After::Gone => return,
        }
    }
}

fn whole(status: StatusCode, kind: &'static str, bytes: Bytes) -> Response<FeedBody> {
    let mut response = Response::new(FeedBody(Inner::Whole(Some(bytes))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

fn problem(status: StatusCode, detail: &str) -> Response<FeedBody> {
    let body = format!("{{\"status\":{},\"detail\":\"{detail}\"}}", status.as_u16());
    whole(status, "application/problem+json", body.into())
}

//! One HTTP call, bounded in time and size. A connection for each: orders are few, and a pooled connection that the other side
//! is closing is one more way not to know what happened.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use trueup::engine::env;

use super::{GatewayAddress, Unanswered};

/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A call to be made.
pub(super) struct Call<'a> {
    pub(super) to: &'a GatewayAddress,
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: Vec<u8>,
    pub(super) timeout: Duration,
}

/// Status and body of the answer.
pub(super) async fn call(call: Call<'_>) -> Result<(u16, Bytes), Unanswered> {
    let timeout = call.timeout;
    let late = |_| Unanswered(format!("nothing came within {} ms", timeout.as_millis()));
    tokio::time::timeout(timeout, exchange(call)).await.map_err(late)?
}

async fn exchange(call: Call<'_>) -> Result<(u16, Bytes), Unanswered> {
    let lost = |doing: &str, why: &dyn std::fmt::Display| Unanswered(format!("{doing}: {why}"));
    let stream = call.to.connect().await.map_err(|why| lost("connecting", &why))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|why| lost("greeting", &why))?;
    let driver = env::spawn("payments call", async move {
        // Its end is told by the answer, or by the lack of it.
        let _ = connection.await;
    });
    let mut request = Request::builder()
        .method(call.method)
        .uri(call.path)
        .header(header::HOST, call.to.place())
        .header(header::CONTENT_TYPE, "application/json");
    for (name, value) in call.headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(call.body))).map_err(|why| lost("writing", &why))?;
    let answer = sender.send_request(request).await.map_err(|why| lost("waiting", &why));
    let outcome = match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            body.map(|body| (status, body.to_bytes())).map_err(|why| lost("reading", &why))
        }
        Err(error) => Err(error),
    };
    driver.stop();
    outcome
}

//! A gateway to try things against: it charges no card, keeps a true book of what it did, and fails as it is told to.
//!
//! It runs as a process of its own (`payments-gateway`), so that it survives what happens to the service, and within the service
//! where there is no other.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use hyper::Method;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use trueup::engine::env::{self, Clock, Nanos};

use super::{
    GatewayAddress, Order, WebhookKey,
    client::{Call, call},
    http::{Said, Status, Written},
};
use crate::domain::Id;

/// What a look-up of an unknown reference says.
pub(super) const ABSENT: &str = "{\"status\":\"absent\"}";
/// The card that is always declined.
pub const DECLINED_CARD: &str = "tok_declined";
/// How long a reply is held back by [`Fault::HoldReply`].
const HELD_FOR: Duration = Duration::from_millis(1_500);
/// How long the receiver of a webhook may take.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// What goes wrong with an order. Each is used up by one order, in the order in which they were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing goes wrong.
    None,
    /// The order never arrives.
    LoseRequest,
    /// It is done, and the reply never comes.
    LoseReply,
    /// It is done, and the reply comes late.
    HoldReply,
    /// It is declined.
    Decline,
    /// It is done, and the reply is garbage.
    Garbage,
    /// Nothing is done, and the reply says 500.
    Fail,
    /// It is done and told by webhook; the reply comes once that was acknowledged.
    WebhookFirst,
    /// It is done and told by webhook alone.
    WebhookOnly,
}

/// How a fake gateway is set up.
#[derive(Clone, Debug)]
pub struct FakeOptions {
    /// For how long a key means the same attempt.
    pub key_window: Duration,
    /// Where webhooks go: `HOST:PORT` and a path, if anywhere.
    pub webhook: Option<(String, String)>,
    /// What they are signed with.
    pub webhook_key: WebhookKey,
    /// A file that keeps the book beyond the process.
    pub book: Option<PathBuf>,
}

/// One operation in the book.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    said: Said,
    minor: i64,
    currency: String,
    /// How often money moved for this reference: more than once is what must never happen.
    times: u32,
}

#[derive(Debug, Default)]
struct Book {
    entries: BTreeMap<Id, Entry>,
    keys: HashMap<Id, Nanos>,
    faults: VecDeque<Fault>,
    file: Option<File>,
}

#[derive(Debug)]
struct Fake {
    options: FakeOptions,
    clock: Clock,
    book: Mutex<Book>,
}

/// The routes of a fake gateway.
///
/// # Errors
/// Where its book cannot be read.
pub fn router(options: FakeOptions) -> std::io::Result<Router> {
    let mut book = Book::default();
    if let Some(path) = &options.book {
        if let Ok(file) = File::open(path) {
            for line in BufReader::new(file).lines() {
                // A line that a crash cut short is one that was never answered.
                if let Ok(entry) = serde_json::from_str::<Entry>(&line?) {
                    book.entries.insert(entry.said.reference, entry);
                }
            }
        }
        book.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
    }
    let fake = Fake { options, clock: Clock::system(), book: Mutex::new(book) };
    Ok(Router::new()
        .route("/v1/operations", post(operate))
        .route("/v1/operations/{reference}", get(look_up))
        .route("/script", post(script))
        .route("/book", get(show))
        .with_state(Arc::new(fake)))
}

async fn script(State(fake): State<Arc<Fake>>, Json(faults): Json<Vec<Fault>>) {
    fake.book.lock().faults.extend(faults);
}

/// How often money moved, by reference.
async fn show(State(fake): State<Arc<Fake>>) -> Json<BTreeMap<Id, u32>> {
    Json(fake.book.lock().entries.iter().map(|(reference, entry)| (*reference, entry.times)).collect())
}

async fn look_up(State(fake): State<Arc<Fake>>, Path(reference): Path<Id>) -> Response {
    match fake.book.lock().entries.get(&reference) {
        Some(entry) => Json(entry.said.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, ABSENT).into_response(),
    }
}

async fn operate(State(fake): State<Arc<Fake>>, Json(order): Json<Written>) -> Response {
    let fault = fake.book.lock().faults.pop_front().unwrap_or(Fault::None);
    match fault {
        Fault::LoseRequest => std::future::pending().await,
        Fault::Fail => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => {}
    }
    let said = fake.record(&order, fault == Fault::Decline);
    match fault {
        Fault::LoseReply => std::future::pending().await,
        Fault::HoldReply => tokio::time::sleep(HELD_FOR).await,
        Fault::Garbage => return "<html>it works!</html>".into_response(),
        Fault::WebhookFirst => fake.tell(&said).await,
        Fault::WebhookOnly => {
            fake.tell(&said).await;
            std::future::pending().await
        }
        _ => {}
    }
    Json(said).into_response()
}

impl Fake {
    /// Does what the order asks, unless its key was used within the window.
    fn record(&self, order: &Written, decline: bool) -> Said {
        let now = self.clock.now();
        let mut book = self.book.lock();
        let Book { entries, keys, file, .. } = &mut *book;
        keys.retain(|_, used| now.since(*used) < self.options.key_window);
        if keys.contains_key(&order.key)
            && let Some(entry) = entries.get(&order.reference)
        {
            return entry.said.clone();
        }
        keys.insert(order.key, now);
        let declined = decline
            || match &order.order {
                Order::Charge { card } => card == DECLINED_CARD,
                Order::Refund { of } => !entries.contains_key(of),
            };
        let (status, code) = match declined {
            true => (Status::Declined, Some("card_declined".to_owned())),
            false => (Status::Done, None),
        };
        let said = Said { reference: order.reference, status, code };
        let entry = entries.entry(order.reference).or_insert_with(|| Entry {
            said: said.clone(),
            minor: order.minor,
            currency: order.currency.clone(),
            times: 0,
        });
        entry.said = said.clone();
        entry.times += u32::from(!declined);
        if let (Some(file), Ok(line)) = (file, serde_json::to_string(&*entry)) {
            // It stands for a gateway's own database, and what that fails with is its own affair.
            let _ = writeln!(file, "{line}");
        }
        said
    }

    /// Tells the service, again and again until it has understood.
    async fn tell(&self, said: &Said) {
        let Some((address, path)) = &self.options.webhook else { return };
        let event = Event { event: Id::new(env::unix_ms()), said: said.clone() };
        let Ok(body) = serde_json::to_vec(&event) else { return };
        let signature = self.options.webhook_key.sign(&body);
        let to = GatewayAddress::plain(address.as_str());
        for _ in 0..3 {
            let (headers, body) = ([(SIGNATURE, signature.as_str())], body.clone());
            let call = call(Call {
                to: &to,
                method: Method::POST,
                path,
                headers: &headers,
                body,
                timeout: WEBHOOK_TIMEOUT,
            });
            if call.await.is_ok_and(|(status, _)| (200..300).contains(&status)) {
                return;
            }
        }
    }
}

/// The header of a message's signature.
pub(crate) const SIGNATURE: &str = "gateway-signature";

/// A message of the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Event {
    event: Id,
    #[serde(flatten)]
    said: Said,
}

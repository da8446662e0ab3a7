//! A service to ask, and a client that speaks HTTP by hand.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use once::Options;
use payments::{
    cache::{PLAN, Source},
    demo,
    gateway::{GatewayAddress, Terms, WebhookKey, fake},
    run::{Service, Settings},
    secret::Secret,
    service::{Audit, audit},
    store::Database,
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub(crate) const ANN: &str = "0197b1f0-0000-7000-8000-00000000000a";
pub(crate) const BEN: &str = "0197b1f0-0000-7000-8000-00000000000b";
pub(crate) const ANN_PERSON: &str = "0197b1f0-0000-7000-8000-0000000000a1";
pub(crate) const BEN_PERSON: &str = "0197b1f0-0000-7000-8000-0000000000b1";
/// What each wallet begins with.
pub(crate) const OPENING: i64 = 100_000;
/// How long the service waits for the gateway here.
const GATEWAY_TIMEOUT: Duration = Duration::from_millis(1_000);
const WAIT_MAX: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// A running service, its gateway and its people.
pub(crate) struct World {
    pub(crate) http: SocketAddr,
    pub(crate) gateway: SocketAddr,
    pub(crate) database: Database,
    pub(crate) app: payments::service::App,
    pub(crate) folder: TempDir,
    pub(crate) secret: Secret,
    source: Source,
    tokens: HashMap<&'static str, String>,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

/// One server for all tests of the process, a database for each.
fn postgres() -> String {
    static SERVER: OnceLock<trueup_testbed::Postgres> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(|| {
        let options = trueup_testbed::PostgresOptions::default();
        let options = options
            .set("max_connections", "300")
            .set("max_wal_senders", "40")
            .set("max_replication_slots", "40");
        trueup_testbed::Postgres::start(&options).unwrap()
    });
    let name = format!("world_{}", COUNT.fetch_add(1, Ordering::SeqCst));
    server.query(&format!("CREATE DATABASE {name}")).unwrap();
    let url = server.url();
    let (rest, _) = url.rsplit_once('/').unwrap();
    format!("{rest}/{name}")
}

pub(crate) fn id() -> String {
    payments::domain::Id::new(trueup::engine::env::unix_ms()).text()
}

impl World {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Sqlite(folder.path().join("payments.db"));
        Self::open(folder, source, PLAN.to_owned(), Vec::new()).await
    }

    pub(crate) async fn postgres() -> Self {
        let url = tokio::task::spawn_blocking(postgres).await.unwrap();
        Self::open(tempfile::tempdir().unwrap(), Source::Postgres(url), PLAN.to_owned(), Vec::new()).await
    }

    /// With a remote tier whose bytes can be read: entries are sealed there, none is encrypted.
    pub(crate) async fn postgres_with_legible(l2: Vec<String>) -> Self {
        let url = tokio::task::spawn_blocking(postgres).await.unwrap();
        let plan = PLAN.replace("at_rest = \"encrypted\"", "at_rest = \"sealed\"");
        Self::open(tempfile::tempdir().unwrap(), Source::Postgres(url), plan, l2).await
    }

    /// With settings of its own.
    pub(crate) async fn sqlite_with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Sqlite(folder.path().join("payments.db"));
        Self::open_with(folder, source, PLAN.to_owned(), Vec::new(), change).await
    }

    /// On the PostgreSQL at this URL.
    pub(crate) async fn postgres_at(url: String) -> Self {
        Self::open(tempfile::tempdir().unwrap(), Source::Postgres(url), PLAN.to_owned(), Vec::new()).await
    }

    /// Where its PostgreSQL is.
    pub(crate) const fn url(&self) -> Option<&String> {
        match &self.source {
            Source::Postgres(url) => Some(url),
            Source::Sqlite(_) => None,
        }
    }

    /// Another instance on the same database.
    pub(crate) async fn beside(&self, change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::open_with(folder, self.source.clone(), PLAN.to_owned(), Vec::new(), change).await
    }

    async fn open(folder: TempDir, source: Source, plan: String, l2: Vec<String>) -> Self {
        Self::open_with(folder, source, plan, l2, |_| ()).await
    }

    async fn open_with(
        folder: TempDir,
        source: Source,
        plan: String,
        l2: Vec<String>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let secret = Secret::new(vec![7; 32]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway_address = gateway.local_addr().unwrap();
        let options = fake::FakeOptions {
            key_window: Duration::from_secs(60),
            webhook: Some((http.to_string(), "/webhooks/gateway".to_owned())),
            webhook_key: WebhookKey::new(secret.derive("webhooks")),
            book: None,
        };
        let router = fake::router(options).unwrap();
        trueup::engine::env::spawn("gateway", async move { axum::serve(gateway, router).await.unwrap() });
        let terms = Terms { timeout: GATEWAY_TIMEOUT, margin: Duration::from_secs(1), ..Terms::default() };
        let mut settings = Settings {
            source: source.clone(),
            plan,
            l2,
            secret: secret.clone(),
            gateway: Some(GatewayAddress::plain(gateway_address.to_string())),
            terms,
            data: folder.path().to_owned(),
            keys: Options::new(),
            relay_ttl: Duration::from_secs(2),
            events: None,
            nightly: None,
        };
        change(&mut settings);
        let service = Service::open(settings, listener).await.unwrap();
        let app = service.app().clone();
        let database = app.database().clone();
        demo::seed(&database, &secret, folder.path()).await.unwrap();
        let tokens = ["ann", "ben", "olga", "otto", "ada"].map(|name| {
            (name, std::fs::read_to_string(folder.path().join(format!("{name}.token"))).unwrap())
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        #[expect(clippy::disallowed_methods, reason = "its end is awaited")]
        let serving = tokio::spawn(service.serve(stopped));
        let tokens = tokens.into_iter().collect();
        Self {
            http,
            gateway: gateway_address,
            database,
            app,
            folder,
            secret,
            source,
            tokens,
            stop,
            serving: Some(serving),
        }
    }

    pub(crate) fn bearer(&self, who: &str) -> &str {
        &self.tokens[who]
    }

    /// A request by `who`, with a new key.
    pub(crate) fn ask(&self, who: &str, method: &str, path: &str) -> Ask {
        let mut ask = Ask::new(self.http, method, path);
        if who != "nobody" {
            ask = ask.header("authorization", &format!("Bearer {}", self.bearer(who)));
        }
        ask
    }

    pub(crate) async fn get(&self, who: &str, path: &str) -> Answer {
        self.ask(who, "GET", path).send().await
    }

    pub(crate) async fn post(&self, who: &str, path: &str, body: &Json) -> Answer {
        self.ask(who, "POST", path).key(&id()).json(body).send().await
    }

    pub(crate) async fn balance(&self, account: &str) -> i64 {
        use ::once::store::{Store as _, Transaction as _};
        let tx = self.database.begin_read().await.unwrap();
        let row = tx.query_row("SELECT balance FROM account WHERE id = $1", &[account.into()]).await.unwrap();
        row.unwrap().int(0).unwrap()
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        use ::once::store::{Store as _, Transaction as _};
        let tx = self.database.begin_read().await.unwrap();
        tx.query_row(sql, &[]).await.unwrap().unwrap().int(0).unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        use ::once::store::{Owned as _, Store as _, Transaction as _};
        let tx = self.database.begin().await.unwrap();
        tx.batch(sql).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Tells the gateway what is to go wrong with the next orders.
    pub(crate) async fn script(&self, faults: &[&str]) {
        let told = Ask::new(self.gateway, "POST", "/script").json(&json!(faults)).send().await;
        assert_eq!(told.status, 200);
    }

    /// How often money moved at the gateway for a reference.
    pub(crate) async fn charges(&self, reference: &str) -> u64 {
        let book = Ask::new(self.gateway, "GET", "/book").send().await.json();
        book[reference].as_u64().unwrap_or(0)
    }

    pub(crate) async fn audit(&self) -> Audit {
        audit(&self.database).await.unwrap()
    }

    /// Waits until nothing is under way.
    pub(crate) async fn rest(&self) {
        let mut found = self.audit().await;
        for _ in 0..WAIT_MAX.as_millis() / PAUSE.as_millis() {
            assert!(found.is_right(), "{found:?}");
            if found.is_at_rest() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
            found = self.audit().await;
        }
        panic!("never at rest: {found:?}");
    }

    /// Ends the service and looks at its books.
    pub(crate) async fn end(mut self) {
        self.rest().await;
        self.stop.cancel();
        self.serving.take().unwrap().await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Money from ann to ben.
pub(crate) fn transfer_of(amount: i64) -> Json {
    json!({"id": id(), "from": ANN, "to": BEN, "amount": amount, "currency": "EUR"})
}

/// A card charged in favour of ann.
pub(crate) fn charge_of(amount: i64) -> Json {
    json!({"id": id(), "account": ANN, "amount": amount, "currency": "EUR", "card": "tok_visa"})
}

/// A request, byte by byte.
pub(crate) struct Ask {
    to: SocketAddr,
    head: String,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    pub(crate) fn new(to: SocketAddr, method: &str, path: &str) -> Self {
        Self {
            to,
            head: format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n"),
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", &format!("\"{key}\""))
    }

    pub(crate) fn json(self, body: &Json) -> Self {
        self.body("application/json", body.to_string().into_bytes())
    }

    pub(crate) fn body(mut self, kind: &str, body: Vec<u8>) -> Self {
        self.body = body;
        let length = self.body.len().to_string();
        self.header("content-type", kind).header("content-length", &length)
    }

    pub(crate) async fn send(self) -> Answer {
        let mut stream = TcpStream::connect(self.to).await.unwrap();
        stream.write_all(format!("{}\r\n", self.head).as_bytes()).await.unwrap();
        // A server that has refused the head may close before it has read the body.
        let _ = stream.write_all(&self.body).await;
        let mut bytes = Vec::new();
        let _ =
            tokio::time::timeout(WAIT_MAX, stream.read_to_end(&mut bytes)).await.expect("an answer in time");
        Answer::parse(&bytes)
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a whole head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: HashMap<String, String> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The fragment of the problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["type"].as_str().unwrap().split_once('#').unwrap().1.to_owned()
    }
}

/// Each of these on both databases.
macro_rules! on_both {
    ($($test:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::support::World::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::support::World::postgres().await).await;
            })+
        }
    };
}
pub(crate) use on_both;

//! A node, and clients that speak to it over sockets.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use trueup::catalog::{Catalog, CatalogBuilder, CatalogEntry, key_form};
use trueup_core::{
    cache::CacheBuilder,
    class::{ClassPlan, ColdStart, Fallback, Kind, Parameter},
    key::{Collation, ColumnForm},
    proof::Tag,
};
use trueup_server::{
    node::Node,
    serve::{Running, Settings, StartError, start},
};

use crate::source::Rows;
pub(crate) use crate::source::{Database, Mood};

/// How long a test waits for something that must happen; it is never waited for in a test that passes.
const PATIENCE: Duration = Duration::from_secs(30);
/// Buckets of a node that holds a handful of entries.
const BUCKETS: usize = 1 << 12;

/// A node in front of [`Database`], with one class of each kind.
pub(crate) struct Server {
    pub(crate) database: Arc<Database>,
    pub(crate) running: Running,
}

pub(crate) fn settings() -> Settings {
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    Settings { resp: any, http: any, ..Settings::default() }
}

/// The classes: `user` (a table), `account` (scoped by tenant), `pair` (two parts), `search` (parameters), `news`
/// (bounded by age), `rate` (filled by its clients), `authorisation` (a decision).
fn plans() -> Vec<ClassPlan> {
    let mut page = Parameter::new("page", Kind::Number);
    page.default = Some("1".into());
    // So long that a busy machine cannot make a hit a miss.
    let minute = Duration::from_secs(60);
    let display = |name| ClassPlan::display(name).max_staleness(minute);
    [
        display("user").table("user").key(["id"]).serve_stale(minute * 5),
        display("account").table("account").key(["id"]).scope(["tenant"]),
        display("pair")
            .table("pair")
            .key(["a", "b"])
            .cold_start(ColdStart::Warm { keys_max: 500.try_into().unwrap() }),
        display("search")
            .query("SELECT :q, :page")
            .parameter(Parameter::new("q", Kind::Text))
            .parameter(page)
            .fallback(Fallback::Value(r#"{"results":[]}"#.into()))
            .same_for_everyone(),
        ClassPlan::display("news")
            .table("news")
            .key(["id"])
            .age_bounded("desk", "comes from outside")
            .life(minute)
            .serve_stale(minute * 5),
        ClassPlan::display("rate")
            .external()
            .key(["name"])
            .same_for_everyone()
            .age_bounded("treasury", "an API of somebody else's")
            .life(minute)
            .hard_timeout(minute),
        ClassPlan::decision("authorisation").table("authorisation").key(["id"]),
    ]
    .into_iter()
    .map(|plan| plan.build().unwrap())
    .collect()
}

fn catalog(database: &Arc<Database>) -> Catalog {
    let cache = CacheBuilder::new(Arc::clone(database) as _).buckets(BUCKETS).online_checks(true).start();
    let type_of = |name: &str| match name {
        "id" => Some(ColumnForm::Integer),
        "a" | "b" => Some(ColumnForm::Text(Collation::Binary)),
        _ => None,
    };
    let mut builder = CatalogBuilder::new(cache);
    for plan in plans() {
        let table = match plan.name().as_str() {
            "user" => "user",
            "account" => "account",
            "pair" => "pair",
            "search" => "search",
            "news" => "news",
            _ => "authorisation",
        };
        let form = key_form(&plan, type_of).unwrap();
        let whole = if table == "search" { Vec::new() } else { vec![Tag::wide(table)] };
        let loader = Arc::new(Rows { database: Arc::clone(database), table });
        builder =
            builder.class(CatalogEntry { plan, form, loader, whole: whole.into_iter().collect() }).unwrap();
    }
    builder.build()
}

impl Server {
    /// A node that has caught up.
    pub(crate) async fn start() -> Self {
        let server = Self::start_with(settings()).await.unwrap();
        within(server.running.node().catalog().cache().ready()).await;
        server
    }

    pub(crate) async fn start_with(settings: Settings) -> Result<Self, StartError> {
        Self::try_begin(settings, |_| ()).await
    }

    /// A node on a database that is as `made` leaves it; it need not have caught up.
    pub(crate) async fn begin(settings: Settings, made: impl FnOnce(&Database)) -> Self {
        Self::try_begin(settings, made).await.unwrap()
    }

    async fn try_begin(settings: Settings, made: impl FnOnce(&Database)) -> Result<Self, StartError> {
        let database = Database::new();
        database.write("user", "42", r#"{"id":42,"name":"Ada"}"#);
        made(&database);
        let running = start(Node::new(catalog(&database)), settings).await?;
        Ok(Self { database, running })
    }

    pub(crate) async fn redis(&self) -> Redis {
        Redis(TcpStream::connect(self.running.resp().unwrap()).await.unwrap())
    }

    /// `METHOD target` with `headers`, each on a line of its own, and `body`.
    pub(crate) async fn http(&self, line: &str, headers: &str, body: &str) -> Answer {
        ask(self.running.http().unwrap(), line, headers, body).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.http(&format!("GET {target}"), "", "").await
    }

    pub(crate) async fn post(&self, target: &str, body: &str) -> Answer {
        self.http(&format!("POST {target}"), "Content-Type: application/json\r\n", body).await
    }

    /// Waits until the node has heard of everything written so far.
    pub(crate) async fn hears(&self, token: trueup_core::proof::Token) {
        within(self.running.node().catalog().cache().feed().until_applied(token.position)).await;
    }
}

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it does not happen")
}

/// A RESP connection.
pub(crate) struct Redis(pub(crate) TcpStream);

impl Redis {
    /// Sends an inline command and returns its reply, in which line ends are shown as spaces.
    pub(crate) async fn ask(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let mut frame = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| frame.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        self.0.write_all(frame.as_bytes()).await.unwrap();
        within(self.reply()).await
    }

    async fn reply(&mut self) -> String {
        let line = self.line().await;
        let rest = &line[1..];
        match line.as_bytes()[0] {
            b'$' | b'=' if rest != "-1" => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.0.read_exact(&mut bytes).await.unwrap();
                bytes.truncate(bytes.len() - 2);
                String::from_utf8(bytes).unwrap()
            }
            b'*' => {
                let mut items = Vec::new();
                for _ in 0..rest.parse::<usize>().unwrap() {
                    items.push(Box::pin(self.reply()).await);
                }
                format!("[{}]", items.join(" | "))
            }
            b'$' => "nil".to_owned(),
            b':' => rest.to_owned(),
            _ => line,
        }
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.unwrap());
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).unwrap()
    }
}

/// An HTTP response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header; empty without it.
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
            .unwrap_or("")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// The last word of the problem's type.
    #[track_caller]
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    }
}

/// Sends one request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, line: &str, headers: &str, body: &str) -> Answer {
    let host = if headers.to_ascii_lowercase().contains("host:") { "" } else { "Host: localhost\r\n" };
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has heard enough may close before all is sent; what it said is read all the same.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut bytes = Vec::new();
    let read = within(stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{read:?}: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

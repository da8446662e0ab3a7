//! A server, a service whose answers the tests release, and a client that says what it expects.

use std::{
    collections::HashMap,
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use trueup_server::resp::{
    Config, Counters, Info, Outcome, Service, Session, command::Data, reply::Reply, serve,
};

/// How long a test waits for something that must happen; it is never waited for in a test that passes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a wrong reply a failing test shows, in bytes.
const SHOWN_BYTES_MAX: usize = 400;

/// What the service did, in order: `start key`, `end key`.
pub(crate) type Events = Vec<String>;

/// Answers `GET key` with the key at once, but `GET wait:x` and `DEL wait:x` only once `x` is released, `GET big:n` with
/// n bytes, and panics on `GET panic`.
#[derive(Clone)]
pub(crate) struct Held(Arc<State>);

struct State {
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
    events: watch::Sender<Events>,
}

impl Held {
    fn new() -> Self {
        Self(Arc::new(State { gates: Mutex::default(), events: watch::channel(Events::new()).0 }))
    }

    fn gate(&self, key: &str) -> Arc<Semaphore> {
        let mut gates = self.0.gates.lock().unwrap();
        Arc::clone(gates.entry(key.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(0))))
    }

    fn note(&self, what: &str, key: &str) {
        self.0.events.send_modify(|events| events.push(format!("{what} {key}")));
    }

    /// Lets one command on `wait:key` be answered.
    pub(crate) fn release(&self, key: &str) {
        self.gate(&format!("wait:{key}")).add_permits(1);
    }

    /// What happened so far.
    pub(crate) fn events(&self) -> Events {
        self.0.events.borrow().clone()
    }

    /// Waits until `event` has happened.
    pub(crate) async fn happened(&self, event: &str) {
        let mut events = self.0.events.subscribe();
        let seen = events.wait_for(|events| events.iter().any(|known| known == event));
        tokio::time::timeout(PATIENCE, seen)
            .await
            .unwrap_or_else(|_| panic!("{event} does not happen"))
            .unwrap();
    }

    fn later(&self, session: &Session, key: &str) -> Outcome {
        let (this, key, format) = (self.clone(), key.to_owned(), session.format());
        Outcome::pending(async move {
            // Never ready when first asked, so that a test may release it beforehand and still see it waited for.
            tokio::task::yield_now().await;
            this.gate(&key).acquire().await.unwrap().forget();
            this.note("end", &key);
            format.encode(|reply| reply.bulk(key.as_bytes()))
        })
    }
}

impl Service for Held {
    fn execute(&self, session: &Session, command: &Data<'_>, reply: &mut Reply<'_>) -> Outcome {
        let key = match command {
            Data::Get { key } => key,
            Data::Delete { keys } => keys.get(0).unwrap(),
            Data::Mget { keys } => {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
                return Outcome::Done;
            }
            other => {
                reply.error(format_args!("ERR {} is not held", other.name()));
                return Outcome::Done;
            }
        };
        let key = std::str::from_utf8(key).unwrap();
        self.note("start", key);
        match key.split_once(':') {
            Some(("wait", _)) => return self.later(session, key),
            Some(("big", bytes)) => reply.bulk(&vec![b'x'; bytes.parse().unwrap()]),
            _ if key == "panic" => panic!("asked to"),
            _ => reply.bulk(key.as_bytes()),
        }
        Outcome::Done
    }

    fn info(&self, info: &mut Info<'_>) {
        info.section("Held", |section| {
            section.line("answer", 42);
        });
    }
}

/// A server in front of [`Held`].
pub(crate) struct Server {
    pub(crate) service: Held,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stop: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
    address: std::net::SocketAddr,
}

impl Server {
    /// Starts a server.
    pub(crate) async fn start(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (service, counters, stop) =
            (Held::new(), Arc::new(Counters::default()), CancellationToken::new());
        let serving = tokio::task::spawn_local(serve(
            listener,
            service.clone(),
            config,
            Arc::clone(&counters),
            stop.clone(),
        ));
        Self { service, counters, stop, serving, address }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap() }
    }

    /// A client that has sent `bytes` and stopped sending before the server gets to see any of it: nothing here lets the
    /// server's task run.
    pub(crate) fn connect_send_and_stop_sending(&self, bytes: &str) -> Client {
        let mut stream = std::net::TcpStream::connect(self.address).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.set_nonblocking(true).unwrap();
        Client { stream: TcpStream::from_std(stream).unwrap() }
    }

    /// Whether a new connection is accepted.
    pub(crate) async fn accepts(&self) -> bool {
        TcpStream::connect(self.address).await.is_ok()
    }

    /// Waits until the server has ended, and ended well.
    pub(crate) async fn stopped(self) {
        let ended = tokio::time::timeout(PATIENCE, self.serving).await;
        ended.expect("the server does not end").unwrap();
    }

    /// Waits until `counter` shows `expected`.
    pub(crate) async fn shows(&self, counter: impl Fn(&Counters) -> &AtomicU64, expected: u64) {
        let until = async {
            while counter(&self.counters).load(Ordering::Relaxed) != expected {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, until).await;
        let shown = counter(&self.counters).load(Ordering::Relaxed);
        seen.unwrap_or_else(|_| panic!("the counter shows {shown}, not {expected}"));
    }
}

/// A connection that knows what it wants to hear.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads exactly `expected`.
    #[track_caller]
    pub(crate) fn hears(&mut self, expected: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let expected = expected.as_ref();
            let (mut heard, mut at) = (vec![0; expected.len()], 0);
            let reading = async {
                // Stops at the first difference, so that it is shown rather than waited out.
                while at < expected.len() {
                    let bytes = self.stream.read(&mut heard[at..]).await.unwrap_or(0);
                    if bytes == 0 || heard[at..at + bytes] != expected[at..at + bytes] {
                        at += bytes;
                        return;
                    }
                    at += bytes;
                }
            };
            let _ = tokio::time::timeout(PATIENCE, reading).await;
            if heard[..at] != *expected {
                let shown =
                    |bytes: &[u8]| bytes[..bytes.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string();
                panic!("at {caller}: {at} bytes: {}\nexpected {}", shown(&heard[..at]), shown(expected));
            }
        }
    }

    /// Sends one inline command and reads its reply.
    #[track_caller]
    pub(crate) fn asks(&mut self, line: &str, expected: &str) -> impl Future<Output = ()> {
        let (line, caller) = (format!("{line}\r\n"), std::panic::Location::caller());
        async move {
            self.send(line).await;
            let mut heard = vec![0; expected.len()];
            let read = tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut heard)).await;
            let shown = heard.escape_ascii().to_string();
            assert!(matches!(read, Ok(Ok(_))), "at {caller}: heard only {shown}");
            assert_eq!(shown, expected.as_bytes().escape_ascii().to_string(), "at {caller}");
        }
    }

    /// The server has closed the connection in order, and said nothing more.
    pub(crate) async fn hears_the_end(&mut self) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        let end = end.expect("the connection stays open");
        assert!(end.is_ok(), "the connection is reset: {end:?}");
        assert_eq!(rest.escape_ascii().to_string(), "");
    }
}

/// Runs a test on a runtime of one thread, with room for local tasks.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

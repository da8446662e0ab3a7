//! The listener and the threads that serve its connections.
//!
//! Each worker is a thread with a runtime of its own, and a connection stays on the worker that has the fewest when it
//! is accepted: no task moves between cores and no wake-up crosses them, which a work-stealing runtime pays for on every
//! request. Handing connections out from one listener keeps the workers even, where listeners that share a port leave it
//! to a hash of the addresses.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    config::Config,
    connection::Connection,
    counters::{Counters, add},
    service::Service,
    session::Session,
};

const REFUSED: &[u8] = b"-ERR max number of clients reached\r\n";
/// Wait after the system refused to accept, as it does when it is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Why the RESP server could not run on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A worker's thread or runtime could not be made.
    #[error("cannot start RESP worker {worker}: {source}; is the number of threads or open files limited?")]
    Worker {
        /// Number of the worker.
        worker: usize,
        /// What the system said.
        source: io::Error,
    },
}

/// A connection on its way to a worker, counted until it is dropped.
struct Accepted {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    id: u64,
    ticket: Ticket,
}

/// Counts a connection, for its worker and for all.
struct Ticket {
    load: Arc<AtomicUsize>,
    counters: Arc<Counters>,
}

impl Ticket {
    fn new(load: Arc<AtomicUsize>, counters: Arc<Counters>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        add(&counters.connections_open, 1);
        Self { load, counters }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.counters.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Worker {
    connections: mpsc::UnboundedSender<Accepted>,
    load: Arc<AtomicUsize>,
    stopped: oneshot::Receiver<()>,
}

/// Serves `service` on `listener` until `stop` is cancelled, then until the last connection is done or
/// [`Config::stop_timeout`] has passed. Connections cut by then are counted in
/// [`Counters::connections_aborted`].
///
/// # Errors
/// [`ServeError`] when the workers cannot be started. Trouble with a connection ends that connection only.
pub async fn serve<S: Service>(
    listener: TcpListener,
    service: S,
    config: Config,
    counters: Arc<Counters>,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let config = Arc::new(config);
    let mut workers = Vec::with_capacity(config.workers.get());
    for number in 0..config.workers.get() {
        let worker = start_worker(number, service.clone(), &config, &counters, &stop);
        workers.push(worker.map_err(|source| ServeError::Worker { worker: number, source })?);
    }
    accept(&listener, &workers, &config, &counters, &stop).await;
    drop(listener);
    for worker in workers {
        drop(worker.connections);
        // A worker that is gone has no connections left either.
        let _ = worker.stopped.await;
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    workers: &[Worker],
    config: &Config,
    counters: &Arc<Counters>,
    stop: &CancellationToken,
) {
    let mut id = 0;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                id += 1;
                if let Err(error) = hand_out(stream, peer, id, workers, config, counters) {
                    tracing::debug!(%peer, %error, "connection lost before it was served");
                }
            }
            // The peer gave up while it waited in the queue.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept RESP connections, trying again");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Gives a connection to the worker that has the fewest.
fn hand_out(
    stream: TcpStream,
    peer: SocketAddr,
    id: u64,
    workers: &[Worker],
    config: &Config,
    counters: &Arc<Counters>,
) -> io::Result<()> {
    let load = |worker: &&Worker| worker.load.load(Ordering::Relaxed);
    let open: usize = workers.iter().map(|worker| load(&worker)).sum();
    if open >= config.clients_max {
        add(&counters.connections_refused, 1);
        // Room for one line is certain in a new socket; a peer that is gone needs none.
        let _ = stream.try_write(REFUSED);
        return Ok(());
    }
    add(&counters.connections_accepted, 1);
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    if let Some(worker) = workers.iter().min_by_key(load) {
        let ticket = Ticket::new(Arc::clone(&worker.load), Arc::clone(counters));
        // Fails only once the worker is gone, and the connection closes with what is dropped here.
        let _ = worker.connections.send(Accepted { stream, peer, id, ticket });
    }
    Ok(())
}

fn start_worker<S: Service>(
    number: usize,
    service: S,
    config: &Arc<Config>,
    counters: &Arc<Counters>,
    stop: &CancellationToken,
) -> io::Result<Worker> {
    let (connections, accepted) = mpsc::unbounded_channel();
    let (stopped_sender, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (config, counters, stop) = (Arc::clone(config), Arc::clone(counters), stop.clone());
    std::thread::Builder::new().name(format!("resp-{number}")).spawn(move || {
        runtime.block_on(work(accepted, service, config, counters, stop));
        let _ = stopped_sender.send(());
    })?;
    Ok(Worker { connections, load: Arc::default(), stopped })
}

/// Serves connections until no more come and all are done.
async fn work<S: Service>(
    mut accepted: mpsc::UnboundedReceiver<Accepted>,
    service: S,
    config: Arc<Config>,
    counters: Arc<Counters>,
    stop: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            next = accepted.recv() => match next {
                Some(next) => {
                    let session = Session::new(next.id, next.peer, &config);
                    let (service, config, counters) = (service.clone(), Arc::clone(&config), Arc::clone(&counters));
                    let stop = stop.clone();
                    connections.spawn(async move {
                        let _ticket = next.ticket;
                        let stream = TcpStream::from_std(next.stream)?;
                        Connection::new(stream, service, config, counters, session).run(stop).await
                    });
                }
                None => break,
            },
            Some(ended) = connections.join_next() => note_end(ended),
        }
    }
    let finish = async {
        while let Some(ended) = connections.join_next().await {
            note_end(ended);
        }
    };
    if tokio::time::timeout(config.stop_timeout, finish).await.is_err() {
        add(&counters.connections_aborted, connections.len() as u64);
        connections.shutdown().await;
    }
}

fn note_end(ended: Result<io::Result<()>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "RESP connection lost"),
        Err(error) => tracing::error!(%error, "a RESP connection failed inside the server"),
    }
}

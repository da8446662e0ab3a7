//! The listener and the tasks that serve its connections.
//!
//! Connections are tasks of the runtime that calls [`serve`], which should have several threads. Threads with a runtime
//! of their own, each with its share of the connections, were measured beside it and were no faster with two cores; and
//! here a connection is not stuck behind a neighbour whose service reads a file in place.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    config::Config,
    connection::Connection,
    counters::{Counters, add, get},
    service::Service,
    session::Session,
};

const REFUSED: &[u8] = b"-ERR max number of clients reached\r\n";
/// Wait after the system refused to accept, as it does when it is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

type Connections = JoinSet<io::Result<()>>;

/// Counts a connection as open until it is dropped.
struct Ticket(Arc<Counters>);

impl Ticket {
    fn new(counters: &Arc<Counters>) -> Self {
        add(&counters.connections_open, 1);
        Self(Arc::clone(counters))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What every connection is made of.
struct Server<S> {
    service: S,
    config: Arc<Config>,
    counters: Arc<Counters>,
    stop: CancellationToken,
}

/// Serves `service` on `listener` until `stop` is cancelled, then until the last connection is done or
/// [`Config::stop_timeout`] has passed; connections cut by then are counted in [`Counters::connections_aborted`].
///
/// Trouble with a connection ends that connection only. `counters` must be used by one server at a time:
/// [`Counters::connections_open`] is what [`Config::clients_max`] limits.
pub async fn serve<S: Service>(
    listener: TcpListener,
    service: S,
    config: Config,
    counters: Arc<Counters>,
    stop: CancellationToken,
) {
    let server = Server { service, config: Arc::new(config), counters, stop };
    let mut connections = Connections::new();
    server.accept(&listener, &mut connections).await;
    drop(listener);
    let finish = async {
        while let Some(ended) = connections.join_next().await {
            note_end(ended);
        }
    };
    if tokio::time::timeout(server.config.stop_timeout, finish).await.is_err() {
        add(&server.counters.connections_aborted, connections.len() as u64);
        connections.shutdown().await;
    }
}

impl<S: Service> Server<S> {
    /// Takes up connections until the server is asked to stop.
    async fn accept(&self, listener: &TcpListener, connections: &mut Connections) {
        let mut id = 0;
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                Some(ended) = connections.join_next() => {
                    note_end(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    id += 1;
                    self.take_up(stream, peer, id, connections);
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

    fn take_up(&self, stream: TcpStream, peer: SocketAddr, id: u64, connections: &mut Connections) {
        if get(&self.counters.connections_open) >= self.config.clients_max as u64 {
            add(&self.counters.connections_refused, 1);
            // Room for one line is certain in a new socket; a peer that is gone needs none.
            let _ = stream.try_write(REFUSED);
            return;
        }
        add(&self.counters.connections_accepted, 1);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "replies on this RESP connection may be delayed");
        }
        let ticket = Ticket::new(&self.counters);
        let session = Session::new(id, peer, &self.config);
        let (config, counters) = (Arc::clone(&self.config), Arc::clone(&self.counters));
        let connection = Connection::new(stream, self.service.clone(), config, counters, session);
        let stop = self.stop.clone();
        connections.spawn(async move {
            let _ticket = ticket;
            connection.run(stop).await
        });
    }
}

fn note_end(ended: Result<io::Result<()>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "RESP connection lost"),
        Err(error) => tracing::error!(%error, "a RESP connection failed inside the server"),
    }
}

//! A RESP server over a plain hash map: the smallest service, and the ceiling of what the protocol side can do.
//!
//! ```sh
//! cargo run --release -p trueup-server --example resp_hashmap -- 127.0.0.1:7400
//! redis-benchmark -p 7400 -t set,get -n 1000000 -c 50 -P 16
//! ```

use std::{collections::HashMap, error::Error, sync::Arc};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use trueup_server::resp::{Config, Counters, Outcome, Service, Session, command::Data, reply::Reply, serve};

#[derive(Clone, Default)]
struct Map(Arc<RwLock<HashMap<Bytes, Bytes>>>);

impl Service for Map {
    fn execute(&self, _: &Session, command: &Data<'_>, reply: &mut Reply<'_>) -> Outcome {
        match command {
            Data::Get { key } => match self.0.read().get(*key) {
                Some(value) => reply.bulk(value),
                None => reply.nil(),
            },
            Data::Set(set) => {
                self.0.write().insert(Bytes::copy_from_slice(set.key), Bytes::copy_from_slice(set.value));
                reply.ok();
            }
            other => reply.error(format_args!("ERR {} is not part of this example", other.name())),
        }
        Outcome::Done
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7400".to_owned());
    let listener = TcpListener::bind(&address).await?;
    // Before anybody is told that it serves, and may interrupt it.
    let mut interrupts = signal(SignalKind::interrupt())?;
    println!("serving a hash map on {address}; end with Ctrl-C");
    let stop = CancellationToken::new();
    let serving =
        serve(listener, Map::default(), Config::default(), Arc::new(Counters::default()), stop.clone());
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => {}
        _ = interrupts.recv() => {
            stop.cancel();
            serving.await;
        }
    }
    Ok(())
}

//! Trueup, as a library: the table as a class, the database's change log as the only messenger, Redis behind.
//!
//! Nodes are a fleet: they follow one slot, so that what one has put into Redis is of use to the others. A writer does
//! nothing: there is no invalidation to forget.

use std::{convert::Infallible, time::Duration};

use anyhow::{Context as _, Result};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use trueup::{
    Class, Plan, Postgres, PostgresOptions, Trueup,
    catalog::postgres::install_options,
    postgres::{
        FeedOptions, FeedPlan,
        fleet::{Fleet, FleetOptions, respond},
    },
    redis::Redis,
};

use super::Rival;
use crate::{
    driver::{Database, Item},
    protocol::Open,
};

/// Bytes of memory for an entry: the row and what is kept beside it.
const ENTRY_BYTES: u64 = 1_024;

pub(crate) struct Ours {
    items: Class<i64, Item>,
    // The last clone that is dropped stops following the feed.
    _trueup: Trueup<Postgres>,
}

impl Rival for Ours {
    async fn open(open: &Open, _: &Database) -> Result<Self> {
        let bound = Duration::from_millis(open.bound_ms);
        let capacity = open.entries * ENTRY_BYTES / 1024;
        let plan = format!(
            "[defaults]\nmax_staleness = \"{}ms\"\nlife = \"{}s\"\nl1_capacity = \"{capacity}KiB\"\n",
            open.bound_ms, open.life_s
        );
        let plan = Plan::parse("the plan", &plan, &[])?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let advertise = Some(format!("http://{}", listener.local_addr()?));
        let fleet = FleetOptions { advertise, ..FleetOptions::default() };
        let feed = FeedOptions { fleet: Some(fleet), ..FeedOptions::default() }.for_bound(bound);
        let options = PostgresOptions { feed, readers_max: open.connections, ..PostgresOptions::default() };
        let postgres = Postgres::connect(&open.postgres, options).await?;
        tokio::spawn(serve(listener, postgres.fleet().context("the source has no fleet")?));
        FeedPlan::new(&postgres, &install_options(&plan)).await?.apply().await?;
        postgres.look_at_catalogue().await?;
        let redis = Redis::standalone(&open.redis);
        let trueup = Trueup::builder().source(postgres).l2(redis).plan(plan).build().await?;
        Ok(Self { items: trueup.class("item")?, _trueup: trueup })
    }

    async fn get(&self, id: i64) -> Result<i64> {
        let item = self.items.get(&id).await?;
        item.value().map(|item| item.version).context("no such row")
    }

    async fn changed(&self, _: i64) -> Result<()> {
        Ok(())
    }
}

/// Tells the other nodes what the feed says.
async fn serve(listener: TcpListener, fleet: Fleet) {
    while let Ok((socket, _)) = listener.accept().await {
        let fleet = fleet.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let fleet = fleet.clone();
            async move { Ok::<_, Infallible>(respond(&fleet, request.uri()).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

//! A process that holds one node of a rival, and does what the harness says.

mod database;
mod sequence;
mod watch;
mod work;

use std::{
    io::{BufRead as _, Write as _},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};

pub(crate) use self::{
    database::{Database, Item},
    sequence::write as write_sequence,
};
use crate::{
    names::Name,
    protocol::{Answer, Command, Open},
    rivals::{ByHand, Cachet, Foyer, Hitbox, MultiTier, Ours, Rival},
};

/// Serves one harness, until its end of the pipe is closed.
pub(crate) fn run(name: Name) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match name {
            Name::Trueup => serve::<Ours>().await,
            Name::ByHand => serve::<ByHand>().await,
            Name::Cachet => serve::<Cachet>().await,
            Name::Hitbox => serve::<Hitbox>().await,
            Name::MultiTierCache => serve::<MultiTier>().await,
            Name::Foyer => serve::<Foyer>().await,
            Name::Bentocache | Name::Cashews => bail!("that rival has a driver in its own language"),
        }
    })
}

async fn serve<R: Rival>() -> Result<()> {
    // Blocks a thread of its own: tokio's standard input cannot be given up while it waits.
    let (lines, mut commands) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    let mut node = None;
    while let Some(line) = commands.recv().await {
        let answer = match serde_json::from_str(&line).context("reading a command") {
            Ok(command) => carry_out::<R>(&mut node, command).await,
            Err(why) => Err(why),
        };
        let answer =
            answer.unwrap_or_else(|why| Answer { error: Some(format!("{why:#}")), ..Answer::default() });
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

/// A node that is connected.
struct Node<R> {
    rival: Arc<R>,
    database: Database,
}

async fn carry_out<R: Rival>(node: &mut Option<Node<R>>, command: Command) -> Result<Answer> {
    if let Command::Open(open) = command {
        *node = Some(connect(&open).await?);
        return Ok(Answer::default());
    }
    let Node { rival, database } = node.as_ref().context("the node is not open")?;
    match command {
        Command::Open(_) => Ok(Answer::default()),
        Command::Each { keys, tasks, limit_ms } => work::each(rival, keys, tasks, limit_ms).await,
        Command::Hot { sequence, keys, tasks, run_ms } => {
            work::hot(rival, sequence::read(&sequence)?, keys, tasks, run_ms).await
        }
        Command::Crowd { key, readers } => work::crowd(rival, key, readers).await,
        Command::Watch(watch) => watch::run(rival, database, &watch).await,
        Command::HandOver => {
            rival.hand_over().await?;
            Ok(Answer::default())
        }
    }
}

async fn connect<R: Rival>(open: &Open) -> Result<Node<R>> {
    let database = Database::connect(&open.postgres, open.connections)?;
    let rival = Arc::new(R::open(open, &database).await?);
    Ok(Node { rival, database })
}

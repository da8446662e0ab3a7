//! `trueup explain CLASS KEY`.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use trueup::catalog::Demand;

use super::{
    Failure,
    client::{Server, TokenArgs},
    database::Database,
    output::{self, Format},
    remote,
    setup::{self, SourceArgs},
};
use crate::node::{
    AskError, Node, RemoteFacts,
    explain::{EntryFacts, Explanation},
};

/// What a key may hold and a path may not.
const IN_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'/').add(b'?').add(b'#').add(b'"').add(b'<').add(b'>');

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The class
    class: String,
    /// The key, as clients write it: parts separated by commas, a scope as @NAME=VALUE: in front
    key: String,
    /// A running server: HOST:PORT of its HTTP side. Without one the database is opened, the key is read, and what
    /// was learned by that is shown
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
    #[command(flatten)]
    source: SourceArgs,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    setup::start_logs("warn");
    let explanation = match &args.http {
        Some(address) => ask(args, address)?,
        None => look(args)?,
    };
    match args.format {
        Format::Json => output::print_json(&explanation),
        Format::Table => {
            output::print(&show(&explanation));
            Ok(())
        }
    }
}

/// What a running server says.
fn ask(args: &Args, address: &str) -> Result<Explanation, Failure> {
    let encode = |text| utf8_percent_encode(text, IN_PATH);
    let target = format!("/v1/explain/{}/{}", encode(&args.class), encode(&args.key));
    Server { address, token: &args.token }.get_json(&target)
}

/// Reads the key here and says what was learned.
fn look(args: &Args) -> Result<Explanation, Failure> {
    let mut plan = args.source.plan(Vec::new())?;
    setup::runtime(None)?.block_on(async {
        let database = Database::open(&plan).await?;
        let skipped = database.complete(&mut plan).await?;
        let catalog = setup::catalog(&plan, skipped, &database, setup::Writes::Elsewhere).await?;
        let node = Node::new(catalog);
        let class = node.catalog().class(&args.class);
        let class = class.map_err(|unknown| Failure::Usage(unknown.to_string()))?;
        let key = class.form().parse(&args.key);
        let key = key.map_err(|why| Failure::Usage(AskError::key(class, why).to_string()))?;
        setup::until_ready(&node).await?;
        remote::until_of_use(node.catalog().cache()).await;
        let answer = class.read(&key, Demand::default()).await;
        answer.map_err(|error| Failure::Unreachable(error.to_string()))?;
        let explanation = crate::node::explain::explain(&node, class, &key).await;
        node.catalog().cache().shut_down().await;
        Ok(explanation)
    })
}

fn show(explanation: &Explanation) -> String {
    let mut rows = vec![
        ["class".to_owned(), format!("{} ({})", explanation.class, explanation.purpose)],
        ["key".to_owned(), explanation.canonical_key.clone()],
        ["verdict".to_owned(), explanation.verdict.clone()],
    ];
    let mut row = |name: &str, value: String| rows.push([name.to_owned(), value]);
    if let Some(bound) = &explanation.max_staleness {
        row("may be stale for", bound.clone());
    }
    if let Some(in_trouble) = &explanation.in_trouble {
        row("in trouble", in_trouble.clone());
    }
    if let Some(entry) = &explanation.entry {
        for (name, value) in entry_rows(entry) {
            row(name, value);
        }
    }
    if let Some(remote) = &explanation.remote {
        for (name, value) in remote_rows(remote) {
            row(name, value);
        }
    }
    let node = &explanation.node;
    row("node applied through", node.applied.to_string());
    row(
        "node knew the source",
        node.lag_ms.map_or_else(|| "never".to_owned(), |lag| format!("{lag:.1} ms ago")),
    );
    for (name, value) in &node.following {
        row(&format!("feed: {name}"), value.clone());
    }
    if let Some(problem) = &node.source_left_alone {
        row("source is left alone", problem.clone());
    }
    if let Some(reason) = &node.not_ready {
        row("node is not ready", reason.clone());
    }
    output::table(["what", "value"], &rows)
}

fn remote_rows(remote: &RemoteFacts) -> Vec<(&'static str, String)> {
    let server = remote.server.clone().unwrap_or_else(|| "nobody is known to hold it".to_owned());
    let place = remote.slot.map_or_else(|| server.clone(), |slot| format!("slot {slot}, {server}"));
    let mut rows = vec![
        ("remote tier", remote.verdict.clone()),
        ("remote name", remote.name.clone()),
        ("remote place", place),
    ];
    if let Some(entry) = &remote.entry {
        let what = if entry.absent { "as absent".to_owned() } else { format!("version {}", entry.version) };
        let (at, ago) = (entry.proven_at, entry.written_ms_ago);
        rows.push(("remote entry", format!("{what}, proven through {at}, written {ago} ms ago")));
    }
    rows
}

fn entry_rows(entry: &EntryFacts) -> Vec<(&'static str, String)> {
    let proven = entry.proven_at.map_or_else(|| "not yet".to_owned(), |at| at.to_string());
    vec![
        (
            "in memory",
            if entry.absent { "as absent".to_owned() } else { format!("version {}", entry.version) },
        ),
        ("standing", entry.standing.clone()),
        ("proven through", proven),
        ("last change of it", entry.last_change.to_string()),
        ("depends on", entry.tags.join(" ")),
        ("loaded", format!("{:.1} ms ago, in {:.3} ms", entry.loaded_ms_ago, entry.load_ms)),
        ("renewed in", format!("{:.0} s", entry.renewed_in_ms / 1_000.0)),
        ("reloaded at the latest in", format!("{:.0} s", entry.reloaded_in_ms / 1_000.0)),
    ]
}

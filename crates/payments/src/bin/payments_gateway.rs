//! `payments-gateway`: a gateway to try `payments` against. It charges no card, keeps a true book, and fails as it is told to.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use payments::{
    gateway::{WebhookKey, fake},
    secret::Secret,
};
use tokio::net::TcpListener;

/// A gateway to try `payments` against.
///
/// POST /script takes a list of faults for the orders to come: none, lose-request, lose-reply, hold-reply, decline, garbage, fail,
/// webhook-first, webhook-only. GET /book says how often money moved, by reference.
#[derive(Parser)]
#[command(name = "payments-gateway", version)]
struct Cli {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:7391")]
    http: SocketAddr,
    /// For how long a key means the same attempt, in ms.
    #[arg(long, default_value_t = 86_400_000)]
    key_window_ms: u64,
    /// Where `payments` listens, for webhooks.
    #[arg(long)]
    webhook: Option<String>,
    /// The file with the secret of `payments`, which webhooks are signed with.
    #[arg(long)]
    secret_file: PathBuf,
    /// A file that keeps the book beyond this process.
    #[arg(long)]
    book: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match serve(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("payments-gateway: {error}\n"),
            );
            ExitCode::from(3)
        }
    }
}

async fn serve(cli: Cli) -> std::io::Result<()> {
    let secret = Secret::read(&cli.secret_file).map_err(std::io::Error::other)?;
    let options = fake::FakeOptions {
        key_window: Duration::from_millis(cli.key_window_ms),
        webhook: cli.webhook.map(|address| (address, "/webhooks/gateway".to_owned())),
        webhook_key: WebhookKey::new(secret.derive("webhooks")),
        book: cli.book,
    };
    let router = fake::router(options)?;
    let listener = TcpListener::bind(cli.http).await?;
    axum::serve(listener, router).await
}

//! Whether the service is alive and of use, what it counts, and what its problems mean.

use std::fmt::Write as _;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use once::{
    Kind as CounterKind,
    http::ProblemKind,
    store::{Store as _, Transaction as _},
};

use super::{Kind, Problem};
use crate::{error::Failed, service::App};

/// The process answers.
pub(super) async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// The database answers. A cache that is not of use is no reason to send nobody here: what is decided needs none, and what is
/// shown comes from the database then.
pub(super) async fn ready(State(app): State<App>) -> Response {
    let asked = async {
        let tx = app.database().begin_read().await?;
        tx.query_row("SELECT 1", &[]).await?;
        Ok::<_, Failed>(())
    };
    match asked.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => Problem::new(Kind::Unavailable, "the database does not answer").into_response(),
    }
}

/// What each type of problem means.
pub(super) async fn problems() -> Response {
    let mut text =
        "# Problems\n\nEvery error is `application/problem+json`; its `type` is one of these.\n\n".to_owned();
    for kind in ProblemKind::ALL {
        let _ = writeln!(text, "- `{}` ({}): {}", kind.name(), kind.status().as_u16(), kind.title());
    }
    for kind in Kind::ALL {
        let _ = writeln!(text, "- `{}` ({}):{}", kind.name(), kind.status().as_u16(), kind.means());
    }
    let _ = writeln!(
        text,
        "\nFinished keys are kept for 30 days; the ids that clients choose stay unique for ever."
    );
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response()
}

/// What `once` counts, in the format of Prometheus.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let mut text = String::new();
    for figure in app.once.counters().read() {
        let kind = match figure.kind {
            CounterKind::Counter => "counter",
            CounterKind::Gauge => "gauge",
        };
        let _ = writeln!(
            text,
            "# HELP {} {}\n# TYPE {} {kind}\n{} {}",
            figure.name, figure.help, figure.name, figure.name, figure.value
        );
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

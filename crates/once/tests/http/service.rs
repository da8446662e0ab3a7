//! A small service: a document with a version, notes that are taken in one transaction, charges that are accepted.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{post, put},
};
use bytes::Bytes;
use once::{
    BusinessId, Fingerprint, Held, Once, OnceError, Options, Point, Request, Step, StoredResponse, Transient,
    http::{
        Answer, Begun, Docs, Found, Gate, GateLayer, Keyed, Principal, Problem, collect, etag, if_match,
        if_match_present,
    },
    sqlite::SqliteStore,
    store::{Owned as _, Store, Transaction as _},
};
use serde::{Deserialize, Serialize};

pub(crate) const INTENT: Point = Point::new("INTENT");

pub(crate) struct Service<S> {
    pub(crate) at: SocketAddr,
    pub(crate) once: Once<S>,
    _folder: Option<tempfile::TempDir>,
}

/// The service on a database of its own.
pub(crate) async fn start() -> Service<SqliteStore> {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::new(folder.path().join("service.db"));
    once::migrate(&store).await.unwrap();
    let tx = store.begin().await.unwrap();
    let schema = "CREATE TABLE note (text TEXT NOT NULL, reference TEXT); CREATE TABLE document (version INTEGER NOT NULL, text TEXT NOT NULL); \
                  INSERT INTO document VALUES (1, 'first')";
    tx.batch(schema).await.unwrap();
    tx.commit().await.unwrap();
    Service { _folder: Some(folder), ..serve(store).await }
}

/// The same, and it has told the gate how a note's present state is read.
pub(crate) async fn start_with_present_states() -> Service<SqliteStore> {
    let service = start().await;
    let store = service.once.store().clone();
    Service { _folder: service._folder, ..serve_with(store, true).await }
}

/// The service on this database.
pub(crate) async fn serve<S: Store>(store: S) -> Service<S> {
    serve_with(store, false).await
}

async fn serve_with<S: Store>(store: S, shows_present_states: bool) -> Service<S> {
    let once = Once::new(store, Options::new());
    let mut gate = Gate::new(once.clone(), Docs::at("https://docs.example/once"));
    if shows_present_states {
        let once = once.clone();
        gate = gate.present(move |principal, place| {
            let once = once.clone();
            Box::pin(async move { present_note(&once, principal, place).await })
        });
    }
    let gates = GateLayer::new(gate.docs().clone(), |parts| {
        Box::pin(async move {
            match parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()) {
                Some(b"ann") => Ok(Principal(Arc::from("tenant-1/ann"))),
                Some(b"bob") => Ok(Principal(Arc::from("tenant-1/bob"))),
                Some(b"guest") => Err(StatusCode::FORBIDDEN.into_response()),
                _ => Err(StatusCode::UNAUTHORIZED.into_response()),
            }
        })
    })
    .limit(|parts, _| {
        Box::pin(async move {
            if parts.headers.contains_key("x-too-often") {
                Err(StatusCode::TOO_MANY_REQUESTS.into_response())
            } else {
                Ok(())
            }
        })
    })
    .methods([axum::http::Method::POST, axum::http::Method::PUT]);
    let routes = Router::new()
        .route("/notes", post(take_note::<S>))
        .route("/document", put(change_document::<S>).get(read_document::<S>))
        .route("/charges", post(charge::<S>))
        .layer(gates)
        .with_state(gate);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Service { at, once, _folder: None }
}

#[derive(Deserialize, Serialize)]
struct Note {
    text: String,
    #[serde(default)]
    reference: Option<String>,
    #[serde(default)]
    otp: Option<String>,
}

enum Failure {
    Once(OnceError),
    Answer(Box<Answer>),
    Problem(Box<Problem>),
}

impl From<OnceError> for Failure {
    fn from(error: OnceError) -> Self {
        Self::Once(error)
    }
}

impl Transient for Failure {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Once(error) if error.is_transient())
    }
}

impl From<Answer> for Failure {
    fn from(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Once(error) => panic!("{error}"),
            Self::Answer(answer) => answer.into_response(),
            Self::Problem(problem) => problem.into_response(),
        }
    }
}

async fn take_note<S: Store>(
    State(gate): State<Gate<S>>,
    Keyed(scope): Keyed,
    body: Bytes,
) -> Result<Response, Failure> {
    let Ok(note) = serde_json::from_slice::<Note>(&body) else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    let asked = Fingerprint::of(1, "POST", "/notes").body(&note, &["otp"])?;
    let mut request = Request::new(scope, asked);
    if let Some(reference) = &note.reference {
        request =
            request.business(BusinessId::new("note/tenant-1", reference, &format!("/notes/{reference}"))?);
    }
    let admitted = gate.look_up(request).await?;
    let (text, reference) = (note.text, note.reference);
    gate.run(&admitted, |tx, held| {
        let (text, reference) = (text.clone(), reference.clone());
        Box::pin(async move {
            if text == "refused" {
                let declined = (StatusCode::PAYMENT_REQUIRED, Json(serde_json::json!({"declined": true})));
                return Ok(collect(declined.into_response()).await?);
            }
            let params = [(&text).into(), reference.as_ref().into()];
            tx.execute("INSERT INTO note VALUES ($1, $2)", &params).await.map_err(OnceError::from)?;
            let created = (
                StatusCode::CREATED,
                [
                    (header::LOCATION, format!("/notes/{}", held.id().0)),
                    (header::SET_COOKIE, "a=b".to_owned()),
                ],
                Json(serde_json::json!({"text": text, "at": trueup_core::env::unix_us()})),
            );
            Ok::<_, Failure>(collect(created.into_response()).await?)
        })
    })
    .await
}

/// How the note at `place` stands. Notes are the tenant's; one that reads "torn" cannot be read.
async fn present_note<S: Store>(once: &Once<S>, principal: &str, place: &str) -> Found {
    assert!(principal.starts_with("tenant-1/"));
    let Some(reference) = place.strip_prefix("/notes/") else { return Ok(None) };
    let tx = once.store().begin_read().await?;
    let row = tx.query_row("SELECT text FROM note WHERE reference = $1", &[reference.into()]).await?;
    let Some(row) = row else { return Ok(None) };
    match row.text(0)? {
        "torn" => Err("it cannot be read".into()),
        text => Ok(Some(([(header::LOCATION, place.to_owned())], text.to_owned()).into_response())),
    }
}

async fn read_document<S: Store>(State(gate): State<Gate<S>>, _: Principal) -> Response {
    let tx = gate.once().store().begin_read().await.unwrap();
    let row = tx.query_row("SELECT version, text FROM document", &[]).await.unwrap().unwrap();
    ([(header::ETAG, etag(row.int(0).unwrap()))], row.text(1).unwrap().to_owned()).into_response()
}

async fn change_document<S: Store>(
    State(gate): State<Gate<S>>,
    Keyed(scope): Keyed,
    headers: HeaderMap,
    text: String,
) -> Result<Response, Failure> {
    let asked = Fingerprint::of(1, "PUT", "/document").body(&text, &[])?;
    let admitted = gate.look_up(Request::new(scope, asked)).await?;
    if_match_present(&headers, gate.docs())?;
    let docs = gate.docs().clone();
    gate.run(&admitted, |tx, _| {
        let (text, headers, docs) = (text.clone(), headers.clone(), docs.clone());
        Box::pin(async move {
            let row = tx
                .query_row("SELECT version FROM document {for_update}", &[])
                .await
                .map_err(OnceError::from)?;
            let version = row.unwrap().int(0).unwrap();
            if_match(&headers, version, &docs)?;
            let sql = "UPDATE document SET version = version + 1, text = $1";
            tx.execute(sql, &[(&text).into()]).await.map_err(OnceError::from)?;
            Ok::<_, Failure>(StoredResponse::new(200, text)?.header("etag", etag(version + 1).as_bytes())?)
        })
    })
    .await
}

/// Accepted, to be finished by somebody else.
async fn charge<S: Store>(
    State(gate): State<Gate<S>>,
    Keyed(scope): Keyed,
    body: String,
) -> Result<Response, Failure> {
    let asked = Fingerprint::of(1, "POST", "/charges").body(&body, &[])?;
    let admitted = gate.look_up(Request::new(scope, asked)).await?;
    let tx = gate.once().store().begin().await.map_err(OnceError::from)?;
    let held: Held = match gate.claim(&tx, &admitted).await? {
        Begun::New(held) => held,
        Begun::Resume(_) => return Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    };
    let location = format!("/charges/{}", held.id().0);
    let mut step = Step::to(INTENT).location(&location);
    if body == "accepted" {
        step = step.asynchronous();
    }
    gate.once().advance(&tx, &held, step).await?;
    tx.commit().await.map_err(OnceError::from)?;
    Ok(Answer::Accepted { location, finished: false }.into_response())
}

//! Connections that are encrypted: to PostgreSQL by `sslmode`, to the gateway by `https`. The certificates are for these tests alone.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use payments::{
    gateway::{Attempt, Gateway as _, GatewayAddress, HttpGateway, Order, Outcome, Terms, WebhookKey, fake},
    run::{StartError, open_database},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{World, charge_of, transfer_of};

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

/// A PostgreSQL that takes encrypted connections alone.
fn encrypted_server() -> trueup_testbed::Postgres {
    let options = trueup_testbed::PostgresOptions::default();
    let server = trueup_testbed::Postgres::start(&options).unwrap();
    let owner = fs::metadata(server.data()).unwrap();
    for name in ["server.crt", "server.key"] {
        let to = server.data().join(name);
        fs::copy(certificate(name), &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    server.set("ssl", "on").unwrap();
    server
}

fn url(server: &trueup_testbed::Postgres, settings: &str) -> String {
    format!("postgres://postgres@localhost:{}/postgres?hostaddr=127.0.0.1&{settings}", server.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_to_postgres_is_encrypted_as_its_url_says() {
    let server = tokio::task::spawn_blocking(encrypted_server).await.unwrap();
    let verified = format!("sslmode=verify-full&sslrootcert={}", certificate("ca.crt").display());
    let world = World::postgres_at(url(&server, &verified)).await;
    assert_eq!(world.post("ann", "/transfers", &transfer_of(1)).await.status, 201);
    let clear = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
                 WHERE NOT s.ssl AND a.application_name IN ('payments', 'trueup')";
    let ours = "SELECT count(*) > 0 FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE s.ssl AND a.application_name = 'payments'";
    assert_eq!((server.query(clear).unwrap().as_str(), server.query(ours).unwrap().as_str()), ("0", "t"));
    world.end().await;
    // An authority that is not its own, a file that is none: nothing is begun.
    let other = format!("sslmode=verify-full&sslrootcert={}", certificate("other.crt").display());
    let refused = open_database(&payments::cache::Source::Postgres(url(&server, &other))).await.unwrap_err();
    assert!(matches!(refused, StartError::Database(_)), "{refused}");
    let missing = "sslmode=verify-full&sslrootcert=/no/such/file";
    let refused = open_database(&payments::cache::Source::Postgres(url(&server, missing))).await.unwrap_err();
    assert!(refused.to_string().contains("/no/such/file"), "{refused}");
}

/// The sandbox's gateway behind TLS.
async fn gateway() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let chain = vec![CertificateDer::from_pem_file(certificate("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(certificate("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let options = fake::FakeOptions {
        key_window: Duration::from_secs(60),
        webhook: None,
        webhook_key: WebhookKey::new(vec![7; 32]),
        book: None,
    };
    let router = fake::router(options).unwrap();
    let _ = trueup::engine::env::spawn("gateway over TLS", async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, router) = (acceptor.clone(), router.clone());
            let _ = trueup::engine::env::spawn("a connection of the gateway", async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = TowerToHyperService::new(router);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_charged_over_an_encrypted_connection() {
    let port = gateway().await.port();
    let address = GatewayAddress::parse(&format!("https://localhost:{port}"), Some(&certificate("ca.crt")));
    let world = World::sqlite_with(|settings| settings.gateway = Some(address.unwrap())).await;
    let charged = world.post("ann", "/payments", &charge_of(2_000)).await;
    assert_eq!((charged.status, charged.json()["state"].as_str()), (201, Some("charged")), "{charged:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_prove_who_it_is_is_sent_nothing() {
    let port = gateway().await.port();
    let attempt = Attempt {
        key: crate::support::id().parse().unwrap(),
        reference: crate::support::id().parse().unwrap(),
        money: payments::domain::Money::new(5, payments::domain::Currency::EUR).unwrap(),
        order: Order::Charge { card: "tok_visa".to_owned() },
    };
    let with = |place: String, roots: &str| {
        HttpGateway::new(GatewayAddress::parse(&place, Some(&certificate(roots))).unwrap(), Terms::default())
    };
    for (place, roots) in [
        // Another authority; a name that is not the certificate's.
        (format!("https://localhost:{port}"), "other.crt"),
        (format!("https://127.0.0.1:{port}"), "ca.crt"),
    ] {
        let unanswered = with(place.clone(), roots).send(&attempt).await.unwrap_err();
        assert!(unanswered.0.contains("certificate"), "{place}: {unanswered}");
    }
    // Spoken to in the clear it understands nothing, and nothing is not "never heard of it".
    let clear = HttpGateway::new(GatewayAddress::plain(format!("localhost:{port}")), Terms::default());
    assert!(clear.look_up(attempt.reference).await.is_err());
    let good = with(format!("https://localhost:{port}"), "ca.crt");
    assert_eq!(good.look_up(attempt.reference).await, Ok(None), "nothing had arrived");
    assert_eq!(good.send(&attempt).await, Ok(Outcome::Done));
}

//! `sslmode` means what it means to libpq. The certificates beside this file are for these tests alone.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::Path,
};

use trueup::postgres::{Postgres, PostgresError, PostgresOptions};

use super::support::{server, until};

/// The name in the server's certificate.
const NAME: &str = "db.example";

fn certificate(name: &str) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres_source/certificates");
    here.join(name).to_string_lossy().into_owned()
}

/// Has the server offer TLS.
fn encrypt(server: &trueup_testbed::Postgres) {
    let owner = fs::metadata(server.data()).unwrap();
    for name in ["server.crt", "server.key"] {
        let to = server.data().join(name);
        fs::copy(certificate(name), &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    server.set("ssl", "on").unwrap();
}

async fn connect(
    server: &trueup_testbed::Postgres,
    host: &str,
    settings: &str,
) -> Result<Postgres, PostgresError> {
    let url = format!("postgres://postgres@{host}:{}/postgres?hostaddr=127.0.0.1&{settings}", server.port());
    Postgres::connect(&url, PostgresOptions::default()).await
}

/// Whether our connections are encrypted.
fn encrypted(server: &trueup_testbed::Postgres) -> bool {
    let sql = "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'trueup'";
    until("a connection", || match server.query(sql).unwrap().as_str() {
        "t" => Some(true),
        "f" => Some(false),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_encrypts_and_checks_as_much_as_it_says() {
    let server = server("SELECT 1");
    let (ours, other) = (certificate("ca.crt"), certificate("other.crt"));
    let error = connect(&server, NAME, "sslmode=require").await.unwrap_err();
    assert!(matches!(error, PostgresError::Unreachable { .. }), "a server without TLS: {error}");
    encrypt(&server);
    for (host, settings, expected) in [
        (NAME, "sslmode=disable".to_owned(), Some(false)),
        (NAME, "sslmode=prefer".to_owned(), Some(true)),
        ("127.0.0.1", "sslmode=require".to_owned(), Some(true)),
        (NAME, format!("sslmode=verify-full&sslrootcert={ours}"), Some(true)),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={ours}"), Some(true)),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={ours}"), None),
        (NAME, format!("sslmode=verify-ca&sslrootcert={other}"), None),
        (NAME, format!("sslmode=require&sslrootcert={other}"), None),
        (NAME, "sslmode=verify-full".to_owned(), None),
    ] {
        let connected = connect(&server, host, &settings).await;
        match (&connected, expected) {
            (Ok(_), Some(expected)) => assert_eq!(encrypted(&server), expected, "{settings}"),
            (Err(error), None) => assert!(error.to_string().contains("certificate"), "{settings}: {error}"),
            (connected, _) => panic!("{host} {settings}: {connected:?}"),
        }
        drop(connected);
        let gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'trueup'";
        super::support::until_answers(&server, gone, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_comes_from_its_file_and_stands_in_no_message() {
    let server = server("CREATE ROLE guest LOGIN PASSWORD 'right-s3cret'");
    let hba = server.data().join("pg_hba.conf");
    fs::write(&hba, "host all postgres all trust\nhost all all all scram-sha-256\n").unwrap();
    server.query("SELECT pg_reload_conf()").unwrap();
    until_asked(&server);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let options = PostgresOptions { password_file: Some(file.clone()), ..PostgresOptions::default() };
    let missing = Postgres::connect(&server.url_as("guest"), options.clone()).await.unwrap_err();
    assert!(matches!(missing, PostgresError::Password { .. }), "{missing}");
    fs::write(&file, "wrong-s3cret\n").unwrap();
    let refused = Postgres::connect(&server.url_as("guest"), options.clone()).await.unwrap_err();
    assert!(matches!(refused, PostgresError::TurnedAway { .. }), "{refused}");
    assert!(!refused.to_string().contains("s3cret"), "{refused}");
    fs::write(&file, "right-s3cret\n").unwrap();
    let postgres = Postgres::connect(&server.url_as("guest"), options).await.unwrap();
    assert!(!format!("{postgres:?}").contains("s3cret"));
    let nowhere =
        Postgres::connect("postgres://a:s3cret@127.0.0.1:1/x", PostgresOptions::default()).await.unwrap_err();
    assert!(nowhere.to_string().starts_with("127.0.0.1:1/x: cannot connect"), "{nowhere}");
    assert!(!nowhere.to_string().contains("s3cret"), "{nowhere}");
}

/// Waits until a password is asked for.
fn until_asked(server: &trueup_testbed::Postgres) {
    let url = server.url_as("guest");
    until("the new rules", || {
        let mut psql = server.psql();
        psql.args(["-w", "-d", &url, "-c", "SELECT 1"]);
        (!psql.output().unwrap().status.success()).then_some(())
    });
}

//! Who may come in, and what if not: passwords, access lists, TLS.

use std::{path::Path, process::Command};

use trueup::redis::{Redis, RedisError, RedisOptions, Tls};
use trueup_core::{
    env::Clock,
    tier::{RemoteError, RemoteTier as _},
};
use trueup_testbed::free_port;

use super::support::{blocking, key, options, patient, put, server, tier, until, works};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_opens_the_server_and_a_wrong_one_is_named_as_such() {
    let redis = server(options().set("requirepass", "hunter2")).await;
    let right = tier(Redis::standalone(&redis.url()).password("hunter2").options(patient())).await;
    works(&right, 1).await.unwrap();
    for wrong in [Redis::standalone(&redis.url()), Redis::standalone(&redis.url()).password("hunter3")] {
        let wrong = wrong.options(patient()).start(Clock::system()).unwrap();
        let error = wrong.connected().await.unwrap_err().to_string();
        assert!(
            error.contains("AUTH") || error.contains("WRONGPASS") || error.contains("authentication"),
            "{error}"
        );
        assert!(!error.contains("hunter"), "{error}");
        assert!(matches!(wrong.get(&key(1)).await, Err(RemoteError::Unavailable { .. })));
        assert!(wrong.servers()[0].left_alone.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_the_access_list_does_what_it_may_and_scripts_are_done_without() {
    let redis = server(options()).await;
    let redis = blocking(move || {
        // Enough for everything.
        redis.cli(&["ACL", "SETUSER", "full", "on", ">secret", "~trueup:*", "+@all"]).unwrap();
        // No scripts; and one that may read alone.
        let plain = ["+get", "+set", "+unlink", "+ping"];
        redis
            .cli(&[&["ACL", "SETUSER", "plain", "on", ">secret", "~trueup:*"], &plain[..]].concat())
            .unwrap();
        let read = ["+get", "+ping"];
        redis
            .cli(&[&["ACL", "SETUSER", "reader", "on", ">secret", "~trueup:*"], &read[..]].concat())
            .unwrap();
        redis
    })
    .await;
    let of =
        |user: &str| tier(Redis::standalone(&redis.url()).user(user).password("secret").options(patient()));
    let (full, plain, reader) = (of("full").await, of("plain").await, of("reader").await);
    full.put(put(1, b"new", 9)).await.unwrap();
    full.put(put(1, b"old", 8)).await.unwrap();
    assert_eq!(reader.get(&key(1)).await, Ok(Some(put(1, b"new", 9).envelope)), "the newer one stays");
    plain.put(put(1, b"old", 8)).await.unwrap();
    assert_eq!(
        reader.get(&key(1)).await,
        Ok(Some(put(1, b"old", 8).envelope)),
        "without scripts it does not"
    );
    plain.delete(&key(1)).await.unwrap();
    let error = reader.put(put(2, b"two", 1)).await.unwrap_err();
    assert!(matches!(&error, RemoteError::Refused { reason, .. } if reason.contains("NOPERM")), "{error}");
    assert_eq!(reader.get(&key(2)).await, Ok(None), "what is refused does not end what is allowed");
    assert_eq!(reader.servers()[0].left_alone, None);
    drop(redis);
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority of our own, a server's certificate for 127.0.0.1 and one for a client.
fn certificates(folder: &Path) {
    let subject = "/CN=an authority of a test";
    openssl(
        folder,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-subj",
            subject,
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ],
    );
    std::fs::write(folder.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    std::fs::write(folder.join("client.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    for name in ["server", "client"] {
        let (key, request, certificate) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        openssl(
            folder,
            &[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                &subject,
                "-keyout",
                &key,
                "-out",
                &request,
            ],
        );
        openssl(
            folder,
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                "2",
                "-extfile",
                &format!("{name}.ext"),
                "-out",
                &certificate,
            ],
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_trusts_the_authority_it_is_given_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let port = free_port().unwrap();
    let options = options()
        .set("tls-port", &port.to_string())
        .set("tls-cert-file", &file("server.pem").display().to_string())
        .set("tls-key-file", &file("server.key").display().to_string())
        .set("tls-ca-cert-file", &file("ca.pem").display().to_string())
        .set("tls-auth-clients", "yes");
    let _redis = server(options).await;
    let url = format!("rediss://127.0.0.1:{port}");
    let pem = |name| std::fs::read(file(name)).unwrap();
    let tls = Tls { roots: Some(pem("ca.pem")), client: Some((pem("client.pem"), pem("client.key"))) };
    let trusting = RedisOptions { tls: tls.clone(), ..patient() };
    let tier_with_tls = tier(Redis::standalone(&url).options(trusting.clone())).await;
    until("an entry over TLS", || works(&tier_with_tls, 1)).await;

    // The system's authorities do not know ours; without a certificate of our own the server does not know us; and the
    // certificate names an address, not this name of it.
    let strangers = Tls { roots: None, ..tls.clone() };
    let nameless = Tls { client: None, ..tls };
    for (tls, url) in [
        (strangers, url.clone()),
        (nameless, url.clone()),
        (trusting.tls.clone(), format!("rediss://localhost:{port}")),
    ] {
        let refused = Redis::standalone(&url).options(RedisOptions { tls, ..patient() });
        let refused = refused.start(Clock::system()).unwrap();
        assert!(refused.connected().await.is_err(), "{url}");
        assert!(refused.get(&key(1)).await.is_err());
    }
    let own_file = Redis::standalone(&url).tls_roots_file(file("client.key"));
    assert!(matches!(own_file.start(Clock::system()), Err(RedisError::Certificates(_))));
}

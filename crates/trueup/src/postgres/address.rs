//! Where a server is, and how to speak to it: taken from a URL.

use std::{path::PathBuf, str::FromStr as _};

use tokio_postgres::{Config, config::Host};

use super::{
    error::PostgresError,
    tls::{Tls, Verify},
};

/// A server and a database on it.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// `sslmode` and `sslrootcert` for the replication connection, whose library reads them itself.
    pub(super) ssl: Vec<(&'static str, String)>,
    place: String,
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?setting=value`. Settings are those of libpq; `sslmode` and
    /// `sslrootcert` too, which the driver does not know in full.
    pub(super) fn parse(url: &str) -> Result<Self, PostgresError> {
        let refuse = |reason: &str| Err(PostgresError::Url { reason: reason.to_owned() });
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return refuse("it must begin with `postgres://`");
        }
        let (base, settings) = url.split_once('?').unwrap_or((url, ""));
        let (mut ssl_mode, mut root_cert, mut rest) = (None, None, Vec::new());
        for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some(("sslmode", mode)) => ssl_mode = Some(mode),
                Some(("sslrootcert", path)) => root_cert = Some(PathBuf::from(decode(path))),
                _ => rest.push(setting),
            }
        }
        let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config = match Config::from_str(&plain) {
            Ok(config) => config,
            // The driver's own words may repeat a part of the URL, and with it the password.
            Err(_) => {
                return refuse(
                    "it cannot be read; write `postgres://user:password@host:port/database?sslmode=...`, with special \
                     characters percent-encoded",
                );
            }
        };
        if config.get_user().is_none() {
            return refuse("it names no user; write `postgres://user@host/database`");
        }
        if config.get_hosts().is_empty() {
            return refuse("it names no host; write `postgres://user@host/database`");
        }
        let (mode, verify) = Verify::of_mode(ssl_mode, root_cert.is_some())?;
        config.ssl_mode(mode);
        let place = place(&config);
        let ssl = ssl_settings(ssl_mode, root_cert.as_ref());
        let tls = Tls::new(verify, root_cert, &place)?;
        Ok(Self { config, tls, ssl, place })
    }

    /// `host:port/database`, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The role.
    pub(super) fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }
}

/// The same in the words of a library that does not check the chain for `require` with a root certificate, as libpq does.
fn ssl_settings(mode: Option<&str>, root: Option<&PathBuf>) -> Vec<(&'static str, String)> {
    let mode = match mode {
        Some("require") if root.is_some() => "verify-ca",
        Some(mode) => mode,
        None => "prefer",
    };
    let root = root.map(|path| ("sslrootcert", path.display().to_string()));
    std::iter::once(("sslmode", mode.to_owned())).chain(root).collect()
}

fn place(config: &Config) -> String {
    const PORT: u16 = 5432;
    let ports = config.get_ports();
    let hosts = config.get_hosts().iter().enumerate().map(|(i, host)| {
        let port = ports.get(i).or_else(|| ports.first()).copied().unwrap_or(PORT);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    let database = config.get_dbname().or_else(|| config.get_user()).unwrap_or_default();
    format!("{}/{database}", hosts.join(","))
}

/// Percent-encoded bytes; what is not UTF-8 is replaced.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = (byte == b'%').then(|| tail.get(..2)).flatten();
        let value = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
        bytes.push(value.unwrap_or(byte));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address").field("place", &self.place).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_name_hosts_and_database_and_never_the_password() {
        let address = Address::parse("postgres://bob:s3cret@db.example/shop?sslmode=disable").unwrap();
        assert_eq!(address.place(), "db.example:5432/shop");
        assert!(!format!("{address:?}").contains("s3cret"));
        let two = Address::parse("postgresql://bob@a:1,b:2/shop?sslmode=disable&connect_timeout=3").unwrap();
        assert_eq!(two.place(), "a:1,b:2/shop");
        assert_eq!(two.user(), "bob");
    }

    #[test]
    fn what_cannot_be_read_is_refused_without_its_password() {
        for (url, text) in [
            ("mysql://a@b/c", "must begin with `postgres://`"),
            ("postgres://bob:s3cret@h:port/shop", "cannot be read"),
            ("postgres://h/shop", "names no user"),
            ("postgres://bob:s3cret@h/shop?sslmode=maybe", "`sslmode` must be one of"),
            ("postgres://bob:s3cret@h/shop?sslmode=require&sslrootcert=/no/such%20file", "/no/such file"),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}

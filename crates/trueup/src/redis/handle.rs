//! A remote tier as it is named in a program or a plan, before it is started.

use std::{path::Path, sync::Arc};

use trueup_core::{entry::KeyRing, env::Clock};

use super::{
    fault::RedisError,
    options::{RedisOptions, Tls},
    tier::RedisTier,
};
use crate::plan::{AddressError, L2Settings, RemoteAddress};

/// Redis or Valkey, one server or a cluster, to be handed to [`Builder::l2`](crate::Builder::l2).
///
/// ```no_run
/// # async fn shop() -> Result<(), Box<dyn std::error::Error>> {
/// use trueup::{Sqlite, SqliteOptions, Trueup, redis::Redis};
///
/// let l2 = Redis::cluster(["10.0.0.1:6379", "10.0.0.2:6379"]).user("trueup").secret_file("/run/secrets/l2");
/// let source = Sqlite::open("shop.db", SqliteOptions::default())?;
/// let trueup = Trueup::builder().source(source).l2(l2).build().await?;
/// # Ok(())
/// # }
/// ```
///
/// What can't be right (an address that is none, an unreadable file) is an error when the tier is started. A tier that can't
/// be reached is not: it is tried again and again, and everything is a miss until it answers.
///
/// The client library is used for single servers, and what makes a cluster of them (slots, redirections, failover) is done
/// here: the library's own cluster client has one task carry the calls of all servers, so that one server that is down holds
/// up all of them.
#[derive(Clone, Debug)]
pub struct Redis {
    address: Result<RemoteAddress, RedisError>,
    options: RedisOptions,
    secret: Option<Result<KeyRing, RedisError>>,
}

impl Redis {
    /// What `url` says: `redis://HOST:PORT/DATABASE`, `rediss://` with TLS, or a cluster by `redis-cluster://` and
    /// `rediss-cluster://`. User and password may stand in front of the host.
    #[must_use]
    pub fn standalone(url: &str) -> Self {
        Self::at(RemoteAddress::parse(&[url]))
    }

    /// The cluster of which `nodes` are some: `HOST:PORT`, or URLs that begin with `redis://` or `rediss://`, plainly or with
    /// `-cluster`. One is enough; more help when the first is down.
    #[must_use]
    pub fn cluster<T: AsRef<str>>(nodes: impl IntoIterator<Item = T>) -> Self {
        let url = |node: T| match node.as_ref() {
            node if node.contains("-cluster://") => node.to_owned(),
            node => match node.split_once("://") {
                Some((scheme, rest)) => format!("{scheme}-cluster://{rest}"),
                None => format!("redis-cluster://{node}"),
            },
        };
        let urls: Vec<String> = nodes.into_iter().map(url).collect();
        Self::at(RemoteAddress::parse(&urls))
    }

    /// The tier of a plan, with the files that it names.
    ///
    /// # Errors
    /// [`RedisError`].
    pub fn of_plan(settings: &L2Settings) -> Result<Self, RedisError> {
        let mut this = Self::at(RemoteAddress::parse(&settings.urls));
        if let Some(file) = &settings.password_file {
            this = this.password_file(&file.0);
        }
        if let Some(file) = &settings.tls_ca_file {
            this = this.tls_roots_file(file);
        }
        if let Some(file) = &settings.secret_file {
            this = this.secret_file(&file.0);
        }
        this.address.as_ref().map_err(Clone::clone)?;
        match &this.secret {
            Some(Err(error)) => Err(error.clone()),
            _ => Ok(this),
        }
    }

    fn at(address: Result<RemoteAddress, AddressError>) -> Self {
        Self { address: address.map_err(RedisError::Address), options: RedisOptions::default(), secret: None }
    }

    /// The user of the server's access list.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        if let Ok(address) = &mut self.address {
            address.user = Some(user.to_owned());
        }
        self
    }

    /// The user's password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        if let Ok(address) = &mut self.address {
            address.password = Some(password.to_owned());
        }
        self
    }

    /// The user's password, as the text of a file.
    #[must_use]
    pub fn password_file(mut self, path: impl AsRef<Path>) -> Self {
        match read(path.as_ref()) {
            Ok(password) => self.password(password.trim_end_matches(['\n', '\r'])),
            Err(error) => {
                self.address = self.address.and(Err(error));
                self
            }
        }
    }

    /// The authorities to trust, as a file of certificates; without one, those of the system.
    #[must_use]
    pub fn tls_roots_file(mut self, path: impl AsRef<Path>) -> Self {
        match read(path.as_ref()) {
            Ok(pem) => {
                self.options.tls = Tls { roots: Some(pem.into_bytes()), ..self.options.tls };
                self
            }
            Err(error) => {
                self.address = self.address.and(Err(error));
                self
            }
        }
    }

    /// Limits other than the default ones.
    #[must_use]
    pub fn options(mut self, options: RedisOptions) -> Self {
        self.options = options;
        self
    }

    /// The secret by which nodes know each other's entries: the same on all of them.
    #[must_use]
    pub fn secret(mut self, keys: KeyRing) -> Self {
        self.secret = Some(Ok(keys));
        self
    }

    /// The same as a file: 64 hexadecimal digits a line; the first line seals, all are accepted.
    #[must_use]
    pub fn secret_file(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let ring = read(path).and_then(|text| {
            KeyRing::parse(&text).map_err(|why| RedisError::Secret(format!("{}: {why}", path.display())))
        });
        self.secret = Some(ring);
        self
    }

    /// The address, without credentials.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.as_ref().map_or_else(ToString::to_string, ToString::to_string)
    }

    /// The secret: the one that was given, else `shared` by the database of record, else one that only this process has.
    ///
    /// # Errors
    /// [`RedisError::Secret`].
    pub fn keys(&self, shared: Option<KeyRing>) -> Result<KeyRing, RedisError> {
        if let Some(given) = &self.secret {
            return given.clone();
        }
        if let Some(shared) = shared {
            return Ok(shared);
        }
        tracing::warn!(
            "the remote tier has no secret that nodes share: its entries are of use to this process alone, until it ends; \
             name a file with one (`secret_file` under [l2]; make it with `openssl rand -hex 32`)"
        );
        KeyRing::generate().map_err(|why| RedisError::Secret(why.to_string()))
    }

    /// Begins to connect, on the current tokio runtime, and returns at once.
    ///
    /// # Errors
    /// [`RedisError`] for what can't be right; a tier that can't be reached is none.
    pub fn start(self, clock: Clock) -> Result<Arc<RedisTier>, RedisError> {
        Ok(Arc::new(RedisTier::start(&self.address?, self.options, clock)?))
    }
}

fn read(path: &Path) -> Result<String, RedisError> {
    std::fs::read_to_string(path).map_err(|why| RedisError::Secret(format!("{}: {why}", path.display())))
}

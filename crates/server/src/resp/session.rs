//! What a connection has said about itself.

use std::net::SocketAddr;

use super::{
    command::{ClientAttribute, Command, Credentials, Hello},
    config::Config,
    counters::{Counters, add},
    limits::Limits,
    reply::{Format, Protocol, Reply},
};

const NO_AUTH: &str = "NOAUTH Authentication required.";
const HELLO_NO_AUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
    HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
    version at the same time";
const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. \
    Are you sure your configuration is correct?";

/// State of one connection.
#[derive(Debug)]
pub struct Session {
    id: u64,
    peer: SocketAddr,
    format: Format,
    authenticated: bool,
    name: String,
    library_name: String,
    library_version: String,
}

impl Session {
    /// The session of a new connection.
    pub(super) fn new(id: u64, peer: SocketAddr, config: &Config) -> Self {
        Self {
            id,
            peer,
            format: Format { protocol: Protocol::Resp2, reply_bytes_max: config.reply_bytes_max },
            authenticated: config.password.is_none(),
            name: String::new(),
            library_name: String::new(),
            library_version: String::new(),
        }
    }

    /// Number of the connection, unique within the process.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Address of the other end.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How replies to commands taken up now are written.
    #[inline]
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Name that the client gave to the connection; empty without one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the client has shown the password, or needs none.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// Limits of the next request.
    #[inline]
    pub(super) fn limits<'a>(&self, config: &'a Config) -> &'a Limits {
        if self.authenticated { &config.limits } else { &Limits::UNAUTHENTICATED }
    }

    /// What to answer instead of `command` when its sender still owes a password.
    #[inline]
    pub(super) fn refusal(&self, command: &Command<'_>) -> Option<&'static str> {
        match command {
            _ if self.authenticated => None,
            Command::Hello(hello) if hello.credentials.is_none() => Some(HELLO_NO_AUTH),
            command => (!command.is_open()).then_some(NO_AUTH),
        }
    }

    /// `AUTH`.
    pub(super) fn authenticate(
        &mut self,
        credentials: &Credentials<'_>,
        config: &Config,
        counters: &Counters,
    ) -> Result<(), &'static str> {
        match &config.password {
            None if credentials.user == super::command::DEFAULT_USER => Err(NO_PASSWORD_SET),
            Some(password) if password.admits(credentials) => {
                self.authenticated = true;
                Ok(())
            }
            _ => {
                add(&counters.authentication_failures, 1);
                Err(WRONG_PASS)
            }
        }
    }

    /// `HELLO`. Nothing changes unless all of it is granted.
    pub(super) fn hello(
        &mut self,
        hello: &Hello<'_>,
        config: &Config,
        counters: &Counters,
    ) -> Result<(), &'static str> {
        if let Some(credentials) = &hello.credentials {
            // Libraries send `AUTH default ""` to servers that want no password.
            if config.password.is_some() || credentials.user != super::command::DEFAULT_USER {
                self.authenticate(credentials, config, counters)?;
            }
        }
        if let Some(protocol) = hello.protocol {
            self.format.protocol = protocol;
        }
        if let Some(name) = hello.name {
            self.set_name(name);
        }
        Ok(())
    }

    /// What `HELLO` answers, in the version just chosen.
    pub(super) fn describe(&self, reply: &mut Reply<'_>) {
        let text = |reply: &mut Reply<'_>, name: &str, value: &str| {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        };
        reply.map(7);
        text(reply, "server", "trueup");
        text(reply, "version", env!("CARGO_PKG_VERSION"));
        reply.bulk(b"proto");
        reply.integer(self.format.protocol.number());
        reply.bulk(b"id");
        reply.integer(self.id as i64);
        text(reply, "mode", "standalone");
        text(reply, "role", "master");
        reply.bulk(b"modules");
        reply.array(0);
    }

    /// `RESET`.
    pub(super) fn reset(&mut self, config: &Config) {
        self.format.protocol = Protocol::Resp2;
        self.authenticated = config.password.is_none();
        self.name.clear();
    }

    /// `CLIENT SETNAME`.
    pub(super) fn set_name(&mut self, name: &[u8]) {
        self.name = text(name);
    }

    /// `CLIENT SETINFO`.
    pub(super) fn set_attribute(&mut self, attribute: ClientAttribute, value: &[u8]) {
        match attribute {
            ClientAttribute::LibName => self.library_name = text(value),
            ClientAttribute::LibVersion => self.library_version = text(value),
        }
    }

    /// The line of `CLIENT INFO` and `CLIENT LIST`.
    pub(super) fn line(&self) -> String {
        format!(
            "id={} addr={} name={} db=0 resp={} lib-name={} lib-ver={}\n",
            self.id,
            self.peer,
            self.name,
            self.format.protocol.number(),
            self.library_name,
            self.library_version
        )
    }
}

/// Decoding let printable ASCII through, nothing else.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! What is not about a class: the source, the server, the proof's memory, the remote tier.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use trueup_core::guard::LoadLimits;

use super::{
    error::Problem,
    l2::{AddressError, RemoteAddress},
    section::Section,
};

/// A secret in a file of its own. Only the path is ever shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile(pub PathBuf);

impl SecretFile {
    /// The secret: the file's text without the line end that editors add.
    ///
    /// # Errors
    /// The file cannot be read, is no text, or is empty.
    pub fn read(&self) -> std::io::Result<String> {
        let text = std::fs::read_to_string(&self.0)?;
        let secret = text.trim_end_matches(['\n', '\r']);
        if secret.is_empty() {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the secret file is empty"));
        }
        Ok(secret.to_owned())
    }
}

/// Which database, by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceUrl {
    /// `sqlite:PATH`, relative to the working directory.
    Sqlite(PathBuf),
    /// `postgres://...`, without a password.
    Postgres(String),
}

impl std::str::FromStr for SourceUrl {
    type Err = Problem;

    fn from_str(url: &str) -> Result<Self, Problem> {
        if let Some(path) = url.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return if has_password(url) {
                Err(Problem::Secret { file_key: "password_file".to_owned() })
            } else {
                Ok(Self::Postgres(url.to_owned()))
            };
        }
        Err(Problem::Conflict {
            problem: "it names no kind of database that Trueup reads".to_owned(),
            fix: "write \"sqlite:PATH\" or \"postgres://USER@HOST/DATABASE\"".to_owned(),
        })
    }
}

impl std::fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(url) => f.write_str(url),
        }
    }
}

/// Whether the address carries a password, before the host or among its parameters.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || rest.split(['?', '&']).skip(1).any(|parameter| parameter.starts_with("password="))
}

/// `[source]`: the database of record.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSettings {
    /// Which database.
    pub url: SourceUrl,
    /// Its password.
    pub password_file: Option<SecretFile>,
    /// Whether the feed may be installed where it is missing.
    pub install_feed: bool,
    /// How long a locked database is waited for.
    pub busy_timeout: Duration,
    /// Standbys that answer loads beside the primary; PostgreSQL only.
    pub replicas: Vec<String>,
    /// Connections for loads at most; PostgreSQL only.
    pub pool_max: usize,
    /// What this node may ask of it, all classes together.
    pub load_limits: LoadLimits,
}

/// How long a locked database is waited for, unless stated.
const BUSY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
/// Connections for loads at most, unless stated.
const POOL_MAX_DEFAULT: usize = 16;

impl SourceSettings {
    /// The database at `url`, with the defaults of the section.
    #[must_use]
    pub fn new(url: SourceUrl) -> Self {
        Self {
            url,
            password_file: None,
            install_feed: false,
            busy_timeout: BUSY_TIMEOUT_DEFAULT,
            replicas: Vec::new(),
            pool_max: POOL_MAX_DEFAULT,
            load_limits: LoadLimits::default(),
        }
    }

    pub(super) fn read(section: Section<'_>) -> Option<Self> {
        let parse =
            |key, url: &str| url.parse::<SourceUrl>().map_err(|problem| section.report(key, problem)).ok();
        let url = section.text("url").and_then(|url| parse("url", &url));
        if section.is_present() && section.place_of("url").is_none() {
            section.conflict("url", "the source has no address", "write `url = \"sqlite:PATH\"`");
        }
        let replicas = section.texts("replicas").unwrap_or_default();
        let parsed: Vec<_> = replicas.iter().filter_map(|replica| parse("replicas", replica)).collect();
        let is_sqlite = |url: &SourceUrl| matches!(url, SourceUrl::Sqlite(_));
        if parsed.iter().any(is_sqlite) || (!parsed.is_empty() && url.as_ref().is_some_and(is_sqlite)) {
            let fix = "leave `replicas` out, or write addresses of PostgreSQL standbys";
            section.conflict("replicas", "only PostgreSQL has standbys", fix);
        }
        let settings = Self {
            password_file: secret(&section, "password_file"),
            install_feed: section.flag("install_feed").unwrap_or(false),
            busy_timeout: section.duration("busy_timeout").unwrap_or(BUSY_TIMEOUT_DEFAULT),
            pool_max: section.count("pool_max", 1..=1_000).map_or(POOL_MAX_DEFAULT, |count| count as usize),
            load_limits: super::guards::load_limits(&section),
            replicas,
            url: url.clone().unwrap_or_else(|| SourceUrl::Sqlite(PathBuf::new())),
        };
        section.finish("key");
        url.map(|_| settings)
    }
}

/// `[fleet]`: nodes that share one slot of a PostgreSQL source. Without the section each node has a temporary slot of its
/// own, and leaves nothing behind in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSettings {
    /// The replication slot that the nodes share.
    pub slot: String,
    /// Where the other nodes reach this one's HTTP port, such as `http://10.0.0.7:7380`.
    pub advertise: String,
    /// Where this node saves its ledger; none: it begins with another node's.
    pub state_dir: Option<PathBuf>,
    /// How often it is saved, and the slot is confirmed.
    pub save_every: Duration,
}

/// How often the ledger is saved, unless stated.
const SAVE_EVERY_DEFAULT: Duration = Duration::from_secs(30);

impl FleetSettings {
    pub(super) fn read(section: Section<'_>) -> Option<Self> {
        let present = section.is_present();
        let slot = section.text("slot").unwrap_or_else(|| "trueup".to_owned());
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if slot.is_empty() || slot.len() > SLOT_NAME_BYTES_MAX || !slot.chars().all(legal) {
            let example = "lower-case letters, digits and `_`, 63 at most";
            section.report(
                "slot",
                Problem::Type { found: format!("{slot:?}"), wanted: "a slot's name", example },
            );
        }
        let advertise = section.text("advertise").unwrap_or_default();
        if present && !advertise.starts_with("http://") {
            let fix = "write `advertise = \"http://HOST:PORT\"`, the HTTP address of this node";
            section.conflict("advertise", "the other nodes do not know where to follow this one", fix);
        }
        let state_dir = section.text("state_dir").map(PathBuf::from);
        let save_every = section.duration("save_every").unwrap_or(SAVE_EVERY_DEFAULT);
        section.finish("key");
        present.then_some(Self { slot, advertise, state_dir, save_every })
    }
}

/// Longest name that PostgreSQL gives a slot, in bytes.
const SLOT_NAME_BYTES_MAX: usize = 63;

/// `[server]`: where clients come in, and what they may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Address of the RESP server; `None`: off.
    pub resp: Option<SocketAddr>,
    /// Address of the HTTP server; `None`: off.
    pub http: Option<SocketAddr>,
    /// What clients must present (`AUTH`, `Authorization: Bearer`); needed on any address but loopback.
    pub password_file: Option<SecretFile>,
    /// Most clients at once, RESP and HTTP each.
    pub clients_max: usize,
    /// Largest request, in bytes.
    pub frame_bytes_max: usize,
    /// Most requests of one client that are taken in before their answers are out.
    pub pipeline_max: usize,
    /// A client that asks nothing for this long is closed.
    pub idle_timeout: Duration,
    /// A client that does not take its answers for this long is closed.
    pub write_timeout: Duration,
    /// How long requests in flight may take to end when the server is stopped.
    pub shutdown_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            resp: Some(SocketAddr::from(([127, 0, 0, 1], 7379))),
            http: Some(SocketAddr::from(([127, 0, 0, 1], 7380))),
            password_file: None,
            clients_max: 10_000,
            frame_bytes_max: 2 << 20,
            pipeline_max: 1_024,
            idle_timeout: Duration::from_secs(60 * 60),
            write_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

impl ServerSettings {
    pub(super) fn read(section: Section<'_>) -> Self {
        let standard = Self::default();
        let counts = 1..=1_000_000;
        let count = |key, or: usize| section.count(key, counts.clone()).map_or(or, |count| count as usize);
        let read = Self {
            resp: section.or_off("resp", address).unwrap_or(standard.resp),
            http: section.or_off("http", address).unwrap_or(standard.http),
            password_file: secret(&section, "password_file"),
            clients_max: count("clients_max", standard.clients_max),
            frame_bytes_max: section.bytes("frame_bytes_max").unwrap_or(standard.frame_bytes_max),
            pipeline_max: count("pipeline_max", standard.pipeline_max),
            idle_timeout: section.duration("idle_timeout").unwrap_or(standard.idle_timeout),
            write_timeout: section.duration("write_timeout").unwrap_or(standard.write_timeout),
            shutdown_timeout: section.duration("shutdown_timeout").unwrap_or(standard.shutdown_timeout),
        };
        for (key, address) in [("resp", read.resp), ("http", read.http)] {
            if address.is_some_and(|address| !address.ip().is_loopback()) && read.password_file.is_none() {
                section.conflict(
                    key,
                    "other machines could read everything without a password",
                    "write `password_file = \"PATH\"` or `--token-file PATH`, or a loopback address such as \"127.0.0.1:7379\"",
                );
            }
        }
        section.finish("key");
        read
    }
}

fn address(section: &Section<'_>, key: &'static str) -> Option<SocketAddr> {
    let text = section.text(key)?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let example = "IP and port such as \"127.0.0.1:7379\", or \"off\"";
        section.report(key, Problem::Type { found: format!("{text:?}"), wanted: "an address", example });
    }
    parsed
}

fn secret(section: &Section<'_>, key: &'static str) -> Option<SecretFile> {
    section.text(key).map(|path| SecretFile(PathBuf::from(path)))
}

/// `[memory]`: what the proof may take, whatever the number of entries, and what entries may take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// Buckets of the ledger, 8 bytes each.
    pub buckets: usize,
    /// Most recent changes held exactly.
    pub recent_max: usize,
    /// Most bytes of all filters of the keys there are (`bloom` of classes).
    pub bloom_max: usize,
    /// Bytes of entries that classes without a capacity of their own share by weight; none: each has its own.
    pub capacity: Option<usize>,
}

impl Default for MemorySettings {
    fn default() -> Self {
        Self {
            buckets: 4 << 20,
            recent_max: 1 << 20,
            bloom_max: trueup_core::FILTER_BYTES_MAX_DEFAULT,
            capacity: None,
        }
    }
}

impl MemorySettings {
    pub(super) fn read(section: Section<'_>) -> Self {
        let standard = Self::default();
        let count = |key, range, or: usize| section.count(key, range).map_or(or, |count| count as usize);
        let buckets = count("buckets", 1 << 10..=1 << 26, standard.buckets);
        let recent_max = count("recent_max", 1 << 10..=1 << 26, standard.recent_max);
        let bloom_max = section.bytes("bloom_max").unwrap_or(standard.bloom_max);
        let capacity = section.or_off("capacity", Section::bytes).flatten();
        section.finish("key");
        Self { buckets, recent_max, bloom_max, capacity }
    }
}

/// `[l2]`: the remote tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2Settings {
    /// Its server (`redis://HOST:PORT/DATABASE`), or nodes of its cluster (`redis-cluster://HOST:PORT`).
    pub urls: Vec<String>,
    /// Its password.
    pub password_file: Option<SecretFile>,
    /// Certificates of the authorities to trust; none for those of the system.
    pub tls_ca_file: Option<PathBuf>,
    /// The secret that seals entries; without one it is shared through the source, or else known to this process alone.
    pub secret_file: Option<SecretFile>,
}

impl L2Settings {
    pub(super) fn read(section: Section<'_>) -> Option<Self> {
        let urls = section.texts("urls").unwrap_or_default();
        if section.is_present() && urls.is_empty() {
            section.conflict(
                "urls",
                "the remote tier has no address",
                "write `urls = [\"redis://HOST:PORT\"]`",
            );
        } else if urls.iter().any(|url| has_password(url)) {
            section.report("urls", Problem::Secret { file_key: "password_file".to_owned() });
        } else if section.is_present() {
            match RemoteAddress::parse(&urls) {
                Ok(_) => {}
                Err(AddressError::Several) => section.conflict(
                    "urls",
                    "several nodes are a cluster",
                    "write \"redis-cluster://HOST:PORT\" for each",
                ),
                Err(AddressError::Scheme | AddressError::Node) => {
                    let example = "\"redis://HOST:PORT\" or \"redis-cluster://HOST:PORT\"";
                    let found = format!("{:?}", urls.join(","));
                    let wanted = "the address of a remote tier";
                    section.report("urls", Problem::Type { found, wanted, example });
                }
                Err(why) => {
                    let fix = "see \"The remote tier\" in the guide";
                    section.conflict("urls", why.to_string(), fix);
                }
            }
        }
        let password_file = secret(&section, "password_file");
        let tls_ca_file = section.text("tls_ca_file").map(PathBuf::from);
        let secret_file = secret(&section, "secret_file");
        let present = section.is_present();
        section.finish("key");
        present.then_some(Self { urls, password_file, tls_ca_file, secret_file })
    }
}

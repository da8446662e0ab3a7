//! Addresses of a remote tier.

use std::fmt;

use percent_encoding::percent_decode_str;

/// Port of a server, unless stated.
const PORT_DEFAULT: u16 = 6379;
/// Most addresses of one tier.
const NODES_MAX: usize = 1_000;

/// A server's host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteNode {
    /// Name or address; of an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for RemoteNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Where a remote tier is, and as whom to speak to it: what a URL, or the URLs of a cluster's nodes, say.
///
/// `redis://HOST:PORT`, `rediss://` with TLS, `redis-cluster://HOST:PORT,HOST:PORT` and `rediss-cluster://`; each with
/// `USER:PASSWORD@` in front and, but for a cluster, `/DATABASE` behind. Valkey speaks the same.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteAddress {
    /// Whether the nodes are those of a cluster.
    pub is_cluster: bool,
    /// Whether to speak TLS.
    pub has_tls: bool,
    /// The server, or some of the cluster.
    pub nodes: Vec<RemoteNode>,
    /// The user of its access list; none for the default user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// The number of the database.
    pub database: i64,
}

/// A text names no remote tier. It is not repeated: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No address at all.
    #[error("a remote tier has no address; write redis://HOST:PORT")]
    Missing,
    /// Another scheme, or none.
    #[error(
        "the address of a remote tier begins with redis://, rediss:// (TLS), redis-cluster:// or rediss-cluster://"
    )]
    Scheme,
    /// No host, or a port that is none.
    #[error("the address of a remote tier holds no HOST:PORT; write redis://HOST:PORT")]
    Node,
    /// A database that is no number, or one of a cluster.
    #[error("the database is a number from 0, as in redis://HOST:PORT/1; a cluster has only 0")]
    Database,
    /// Something behind a `?` or `#`.
    #[error("the address of a remote tier takes no parameters; remove what follows `?` or `#`")]
    Parameters,
    /// User or password are not percent-encoded text.
    #[error("user or password in the address are no text; write special characters as %XX")]
    Credentials,
    /// Several servers that are no cluster.
    #[error("several nodes are a cluster; write redis-cluster://HOST:PORT,HOST:PORT")]
    Several,
    /// The addresses contradict each other.
    #[error("all addresses of a cluster have the same scheme, user and password")]
    Differ,
    /// More than anybody has.
    #[error("{NODES_MAX} addresses of a remote tier are the most")]
    TooMany,
}

impl RemoteAddress {
    /// Reads the URL of one server, or of nodes of a cluster: in one text with commas, or in several. Only the first needs a
    /// scheme.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse<T: AsRef<str>>(urls: &[T]) -> Result<Self, AddressError> {
        let mut pieces = urls.iter().flat_map(|url| url.as_ref().split(',')).map(str::trim);
        let first = pieces.next().filter(|url| !url.is_empty()).ok_or(AddressError::Missing)?;
        let mut address = Self::parse_one(first)?;
        for piece in pieces {
            if piece.contains("://") {
                let other = Self::parse_one(piece)?;
                let same = Self { nodes: other.nodes.clone(), ..address.clone() } == other;
                if !same {
                    return Err(AddressError::Differ);
                }
                address.nodes.extend(other.nodes);
            } else {
                address.nodes.push(node(piece)?);
            }
        }
        match address.nodes.len() {
            2.. if !address.is_cluster => Err(AddressError::Several),
            count if count > NODES_MAX => Err(AddressError::TooMany),
            _ => Ok(address),
        }
    }

    fn parse_one(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.split_once("://").ok_or(AddressError::Scheme)?;
        let (has_tls, is_cluster) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis-cluster" => (false, true),
            "rediss-cluster" => (true, true),
            _ => return Err(AddressError::Scheme),
        };
        // A password may hold any character, percent-encoded, so the last `@` ends it.
        let (credentials, rest) = rest.rsplit_once('@').map_or((None, rest), |(c, rest)| (Some(c), rest));
        if rest.contains(['?', '#']) {
            return Err(AddressError::Parameters);
        }
        let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = match database {
            "" => 0,
            number => number.parse().ok().filter(|n| *n >= 0).ok_or(AddressError::Database)?,
        };
        if is_cluster && database != 0 {
            return Err(AddressError::Database);
        }
        let (user, password) =
            match credentials.map(|c| c.split_once(':').map_or((c, None), |(u, p)| (u, Some(p)))) {
                Some((user, password)) => (Some(decoded(user)?), password.map(decoded).transpose()?),
                None => (None, None),
            };
        Ok(Self {
            is_cluster,
            has_tls,
            nodes: vec![node(host)?],
            user: user.filter(|user| !user.is_empty()),
            password,
            database,
        })
    }
}

fn decoded(text: &str) -> Result<String, AddressError> {
    percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| AddressError::Credentials)
}

/// `HOST`, `HOST:PORT` or `[IPV6]:PORT`.
fn node(text: &str) -> Result<RemoteNode, AddressError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(AddressError::Node)?;
            (
                host,
                if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or(AddressError::Node)?)
                },
            )
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(PORT_DEFAULT), |port| port.parse().map_err(|_| AddressError::Node))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || port == 0 || !host.chars().all(plain) {
        return Err(AddressError::Node);
    }
    Ok(RemoteNode { host: host.to_owned(), port })
}

impl fmt::Display for RemoteAddress {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.has_tls, self.is_cluster) {
            (false, false) => "redis",
            (true, false) => "rediss",
            (false, true) => "redis-cluster",
            (true, true) => "rediss-cluster",
        };
        let nodes: Vec<String> = self.nodes.iter().map(ToString::to_string).collect();
        write!(f, "{scheme}://{}", nodes.join(","))
    }
}

impl fmt::Debug for RemoteAddress {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(urls: &[&str]) -> Result<RemoteAddress, AddressError> {
        RemoteAddress::parse(urls)
    }

    #[test]
    fn every_form_is_read() {
        let plain = read(&["redis://h"]).unwrap();
        assert_eq!((plain.to_string(), plain.database), ("redis://h:6379".to_owned(), 0));
        let full = read(&["rediss://me:p%40ss%2C@[::1]:7000/3"]).unwrap();
        assert_eq!((full.user.as_deref(), full.password.as_deref()), (Some("me"), Some("p@ss,")));
        assert_eq!((full.has_tls, full.is_cluster, full.database), (true, false, 3));
        assert_eq!(full.to_string(), "rediss://[::1]:7000");
        let anonymous = read(&["redis://:secret@h:1"]).unwrap();
        assert_eq!((anonymous.user, anonymous.password.as_deref()), (None, Some("secret")));
        let cluster = read(&["redis-cluster://u@a:1,b:2", "redis-cluster://u@c:3", "d:4"]).unwrap();
        assert_eq!(cluster.to_string(), "redis-cluster://a:1,b:2,c:3,d:4");
        assert_eq!(cluster.user.as_deref(), Some("u"));
        assert!(read(&["rediss-cluster://a:1"]).unwrap().has_tls);
    }

    #[test]
    fn what_names_no_tier_is_refused_for_its_reason() {
        for (urls, why) in [
            (&[][..], AddressError::Missing),
            (&[""], AddressError::Missing),
            (&["h:1"], AddressError::Scheme),
            (&["http://h:1"], AddressError::Scheme),
            (&["redis://"], AddressError::Node),
            (&["redis://h:x"], AddressError::Node),
            (&["redis://h:0"], AddressError::Node),
            (&["redis://h:99999"], AddressError::Node),
            (&["redis://[::1"], AddressError::Node),
            (&["redis://h h:1"], AddressError::Node),
            (&["redis://h:1/x"], AddressError::Database),
            (&["redis://h:1/-1"], AddressError::Database),
            (&["redis-cluster://h:1/1"], AddressError::Database),
            (&["redis://h:1?timeout=3"], AddressError::Parameters),
            (&["redis://h:1#insecure"], AddressError::Parameters),
            (&["redis://%ff:x@h:1"], AddressError::Credentials),
            (&["redis://a:1,b:2"], AddressError::Several),
            (&["redis-cluster://a:1", "redis://b:2"], AddressError::Differ),
            (&["redis-cluster://u@a:1", "redis-cluster://b:2"], AddressError::Differ),
        ] {
            assert_eq!(read(urls).unwrap_err(), why, "{urls:?}");
        }
    }

    #[test]
    fn credentials_are_never_shown() {
        let address = read(&["redis://me:hunter2@h:1"]).unwrap();
        assert!(!format!("{address} {address:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_shown_as_it_is_read(text in "[a-z:/@,.\\[\\]%0-9?#-]{0,40}") {
            let tries = [text.clone(), format!("redis://{text}"), format!("redis-cluster://{text}")];
            for text in tries {
                if let Ok(address) = RemoteAddress::parse(&[&text]) {
                    let again = RemoteAddress::parse(&[address.to_string()]).unwrap();
                    prop_assert_eq!(again.nodes, address.nodes);
                }
            }
        }
    }
}

//! Where the gateway is, and how it is spoken to.

use std::{fmt, io, path::Path, sync::Arc};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// The gateway's address.
#[derive(Clone)]
pub struct GatewayAddress {
    /// `HOST:PORT`.
    place: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Not the address of a gateway, or certificates that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--gateway: {0}")]
pub struct GatewayError(String);

/// A connection, encrypted or not.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

impl GatewayAddress {
    /// The gateway at `HOST:PORT`, spoken to in the clear: on this machine, or on a network of one's own.
    #[must_use]
    pub fn plain(place: impl Into<String>) -> Self {
        Self { place: place.into(), tls: None }
    }

    /// Reads `https://HOST:PORT`, or `http://HOST:PORT` and `HOST:PORT` for a gateway that is spoken to in the clear. Over TLS its certificate must be for
    /// `HOST` and lead to one in the file `roots` (PEM), or else to one that the operating system trusts.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub fn parse(text: &str, roots: Option<&Path>) -> Result<Self, GatewayError> {
        let (encrypted, place) = match text.split_once("://") {
            Some(("https", place)) => (true, place),
            Some(("http", place)) => (false, place),
            Some(_) => return Err(GatewayError("write https://HOST:PORT or http://HOST:PORT".to_owned())),
            None => (false, text),
        };
        let (host, _) = place
            .rsplit_once(':')
            .filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            .ok_or_else(|| GatewayError("it names no host and port: write https://HOST:PORT".to_owned()))?;
        if !encrypted {
            if roots.is_some() {
                let why = "certificates are for https:// alone; write https://HOST:PORT";
                return Err(GatewayError(why.to_owned()));
            }
            return Ok(Self::plain(place));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| GatewayError(format!("{host} is neither a name nor an address")))?;
        let config = trueup::tls::client_config(roots).map_err(GatewayError)?;
        Ok(Self { place: place.to_owned(), tls: Some((TlsConnector::from(Arc::new(config)), name)) })
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(super) async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        let stream = TcpStream::connect(&self.place).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((connector, name)) => Ok(Box::new(connector.connect(name.clone(), stream).await?)),
        }
    }
}

impl fmt::Debug for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayAddress")
            .field("place", &self.place)
            .field("encrypted", &self.tls.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_whether_it_is_encrypted() {
        for (text, place, encrypted) in [
            ("gw:80", "gw:80", false),
            ("http://gw:80", "gw:80", false),
            ("https://gw.example:443", "gw.example:443", true),
            ("https://[::1]:443", "[::1]:443", true),
        ] {
            let address = GatewayAddress::parse(text, None).unwrap();
            assert_eq!((address.place(), address.tls.is_some()), (place, encrypted), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let nowhere = Path::new("/no/such/file");
        for (text, roots, why) in [
            ("", None, "no host and port"),
            ("https://gw", None, "no host and port"),
            ("https://gw:443/path", None, "no host and port"),
            ("ftp://gw:21", None, "write https://"),
            ("https://a b:443", None, "neither a name"),
            ("http://gw:80", Some(nowhere), "https:// alone"),
            ("https://gw:443", Some(nowhere), "/no/such/file"),
        ] {
            let error = GatewayAddress::parse(text, roots).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}

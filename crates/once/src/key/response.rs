//! Answers as they are kept, to be given again byte for byte.

use bytes::Bytes;

use crate::{
    error::{OnceError, check_bytes},
    limits::{RESPONSE_BODY_BYTES_MAX, RESPONSE_HEADER_BYTES_MAX, RESPONSE_HEADERS_MAX},
};

/// An answer: status, headers in their order, body.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredResponse {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
}

impl StoredResponse {
    /// An answer with this status, without headers.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where the status is not 200 to 599, or the body is too large. A status of 500 or above says that
    /// the outcome is not known, which is not an outcome to keep: leave the key unfinished instead.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Result<Self, OnceError> {
        if !(200..500).contains(&status) {
            let why = format!("is {status}; only 200 to 499 are outcomes. Leave the key unfinished instead");
            return Err(OnceError::invalid("the status of a stored response", why));
        }
        let body = body.into();
        check_bytes("the body of a stored response", body.len(), RESPONSE_BODY_BYTES_MAX)?;
        Ok(Self { status, headers: Vec::new(), body })
    }

    /// Adds a header.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where it is not a header, or there are too many.
    pub fn header(mut self, name: &str, value: &[u8]) -> Result<Self, OnceError> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) || value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
        {
            return Err(OnceError::invalid(
                "a header of a stored response",
                "is not one that HTTP can carry",
            ));
        }
        self.headers.push((name.to_owned(), value.to_vec()));
        let bytes = self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        check_bytes("the header section of a stored response", bytes, RESPONSE_HEADER_BYTES_MAX)?;
        if self.headers.len() > RESPONSE_HEADERS_MAX {
            let why = format!("are {}; at most {RESPONSE_HEADERS_MAX} are kept", self.headers.len());
            return Err(OnceError::invalid("the headers of a stored response", why));
        }
        Ok(self)
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The header section as HTTP/1 writes it.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in &self.headers {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    pub(crate) fn stored(status: i64, mut head: &[u8], body: &[u8]) -> Result<Self, OnceError> {
        let unreadable = |why: &str| OnceError::Unreadable { what: "a stored response", why: why.to_owned() };
        let status =
            u16::try_from(status).map_err(|_| unreadable("its status is not a number of three digits"))?;
        let mut response = Self { status, headers: Vec::new(), body: Bytes::copy_from_slice(body) };
        while !head.is_empty() {
            let end = head.windows(2).position(|pair| pair == b"\r\n");
            let (line, rest) = end
                .map(|end| (&head[..end], &head[end + 2..]))
                .ok_or_else(|| unreadable("a header has no end"))?;
            let colon = line.windows(2).position(|pair| pair == b": ");
            let colon = colon.ok_or_else(|| unreadable("a header has no colon"))?;
            let name =
                std::str::from_utf8(&line[..colon]).map_err(|_| unreadable("a header's name is not text"))?;
            response.headers.push((name.to_owned(), line[colon + 2..].to_vec()));
            head = rest;
        }
        Ok(response)
    }
}

impl std::fmt::Debug for StoredResponse {
    /// Status and sizes: an answer may hold personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredResponse")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_outcome_is_not_kept() {
        for status in [100, 199, 500, 503, 600] {
            assert!(StoredResponse::new(status, "").is_err(), "{status}");
        }
        let ok = StoredResponse::new(200, "").unwrap();
        for (name, value) in [("", "a"), ("a b", "a"), ("a:", "a"), ("a", "b\r\nc: d"), ("a", "\0")] {
            assert!(ok.clone().header(name, value.as_bytes()).is_err(), "{name}");
        }
        assert!(StoredResponse::new(200, vec![0; RESPONSE_BODY_BYTES_MAX + 1]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_stored_comes_back_byte_for_byte(
            status in 200u16..500,
            headers in prop::collection::vec(("[A-Za-z-]{1,20}", prop::collection::vec(prop_oneof![0x20u8..=0x7e, 0x80u8..=0xff], 0..40)), 0..10),
            body in prop::collection::vec(any::<u8>(), 0..500),
        ) {
            let mut response = StoredResponse::new(status, body).unwrap();
            for (name, value) in &headers {
                response = response.header(name, value).unwrap();
            }
            let again = StoredResponse::stored(response.status().into(), &response.head(), response.body()).unwrap();
            prop_assert_eq!(again, response);
        }

        #[test]
        fn no_bytes_make_reading_panic(status: i64, head: Vec<u8>, body: Vec<u8>) {
            let _ = StoredResponse::stored(status, &head, &body);
        }
    }
}

//! What a request asks for, as a digest.

use serde::Serialize;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::error::OnceError;

/// Says that two requests ask for the same: SHA-256 over version, method, route template and typed body.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Begins the fingerprint of a request to `method` on `route`, the template (`/wallets/{id}/transfers`), not the path.
    ///
    /// `version` is the API's: raise it when the same body comes to mean something else.
    #[must_use]
    pub fn of(version: u32, method: &str, route: &str) -> Fingerprinting {
        let mut parts = Fingerprinting { hash: Sha256::new() };
        parts.part(b"once-fingerprint-1");
        parts.part(&version.to_be_bytes());
        parts.part(method.as_bytes());
        parts.part(route.as_bytes());
        parts
    }

    /// Its bytes, as they are stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn stored(bytes: &[u8]) -> Result<Self, OnceError> {
        let bytes = bytes.try_into().map_err(|_| OnceError::Unreadable {
            what: "a fingerprint",
            why: format!("it has {} bytes, not 32", bytes.len()),
        })?;
        Ok(Self(bytes))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fingerprint({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// A fingerprint under way. Made by [`Fingerprint::of`].
#[derive(Clone, Debug)]
pub struct Fingerprinting {
    hash: Sha256,
}

impl Fingerprinting {
    /// Adds a parameter of the route or of the query that decides what is done: the wallet's id of `/wallets/{id}/transfers`.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.part(b"parameter");
        self.part(name.as_bytes());
        self.part(value.as_bytes());
        self
    }

    /// Ends with the body, after it was parsed and checked: two texts of the same body have the same fingerprint, whatever the
    /// order of their members.
    ///
    /// `without` names members that do not decide what is done, or may not be kept even as a digest: one-time passwords, card
    /// verification values, trace ids. Members of members are named with dots: `card.cvv`.
    ///
    /// # Errors
    /// [`OnceError::Invalid`] where the body holds a floating-point number (amounts are whole minor units; what is written
    /// 0.1 has no one form), or cannot be serialized.
    pub fn body(mut self, body: &impl Serialize, without: &[&str]) -> Result<Fingerprint, OnceError> {
        let unusable =
            |why: serde_json::Error| OnceError::invalid("the body", format!("cannot be serialized: {why}"));
        let mut json = serde_json::to_value(body).map_err(unusable)?;
        for path in without {
            remove(&mut json, path);
        }
        let mut text = Vec::new();
        canonical(&json, &mut text)?;
        self.part(b"body");
        self.part(&text);
        Ok(Fingerprint(self.hash.finalize().into()))
    }

    /// Ends without a body.
    #[must_use]
    pub fn no_body(self) -> Fingerprint {
        Fingerprint(self.hash.finalize().into())
    }

    /// Each part with its length, so that no two lists of parts are the same bytes.
    fn part(&mut self, bytes: &[u8]) {
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }
}

fn remove(json: &mut Json, path: &str) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let Json::Object(members) = json else { return };
    match rest {
        None => drop(members.remove(first)),
        Some(rest) => {
            if let Some(inner) = members.get_mut(first) {
                remove(inner, rest);
            }
        }
    }
}

/// Members in the order of their names, no spaces. Not left to `serde_json`, whose maps keep the order of insertion when any crate
/// of the program asks for that.
fn canonical(json: &Json, out: &mut Vec<u8>) -> Result<(), OnceError> {
    let unusable =
        |why: serde_json::Error| OnceError::invalid("the body", format!("cannot be serialized: {why}"));
    match json {
        Json::Number(number) if !number.is_i64() && !number.is_u64() => Err(OnceError::invalid(
            "the body",
            "holds a floating-point number; send whole numbers of minor units",
        )),
        Json::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                canonical(item, out)?;
            }
            out.push(b']');
            Ok(())
        }
        Json::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (index, (name, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, name).map_err(unusable)?;
                out.push(b':');
                canonical(value, out)?;
            }
            out.push(b'}');
            Ok(())
        }
        plain => serde_json::to_writer(out, plain).map_err(unusable),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(body: &Json) -> Fingerprint {
        Fingerprint::of(1, "POST", "/payments").body(body, &["otp", "card.cvv"]).unwrap()
    }

    #[test]
    fn order_and_left_out_members_do_not_count() {
        let first = of(&json!({"amount": 100, "card": {"token": "t", "cvv": "123"}, "otp": "1"}));
        let second = of(&json!({"otp": "2", "card": {"cvv": "999", "token": "t"}, "amount": 100}));
        assert_eq!(first, second);
        assert_ne!(first, of(&json!({"amount": 101, "card": {"token": "t"}})));
    }

    #[test]
    fn every_part_counts() {
        let body = json!({"a": 1});
        let all = [
            Fingerprint::of(1, "POST", "/a").body(&body, &[]).unwrap(),
            Fingerprint::of(2, "POST", "/a").body(&body, &[]).unwrap(),
            Fingerprint::of(1, "PUT", "/a").body(&body, &[]).unwrap(),
            Fingerprint::of(1, "POST", "/ab").body(&body, &[]).unwrap(),
            Fingerprint::of(1, "POST", "/a").parameter("id", "1").body(&body, &[]).unwrap(),
            Fingerprint::of(1, "POST", "/a").parameter("id", "2").body(&body, &[]).unwrap(),
            Fingerprint::of(1, "POST", "/a").no_body(),
            Fingerprint::of(1, "POST", "/a").body(&json!({"a": "1"}), &[]).unwrap(),
            Fingerprint::of(1, "POST", "/a").body(&json!({"a": [1]}), &[]).unwrap(),
            Fingerprint::of(1, "POST", "/a").body(&json!({"a": null}), &[]).unwrap(),
        ];
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn floating_point_is_refused_at_any_depth() {
        let body = json!({"lines": [{"amount": 1.5}]});
        assert!(Fingerprint::of(1, "POST", "/a").body(&body, &[]).is_err());
    }

    /// Stored rows outlive a release: what is hashed may not change with it.
    #[test]
    fn the_digest_is_the_same_in_every_release() {
        let print =
            Fingerprint::of(1, "POST", "/payments").body(&json!({"b": [1, "é"], "a": null}), &[]).unwrap();
        let hex: String = print.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "33462af2068e137a470b4f4b2123e4eba3fcff98b3aa1a4b4b06520517f0afc3");
    }
}

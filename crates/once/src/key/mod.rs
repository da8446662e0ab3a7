//! What names a request: its key, whose it is, what it asks for, and the answer that is kept.

mod business;
mod fingerprint;
mod response;
mod scope;

pub use self::{
    business::BusinessId,
    fingerprint::{Fingerprint, Fingerprinting},
    response::StoredResponse,
    scope::{Key, KeyError, Scope},
};

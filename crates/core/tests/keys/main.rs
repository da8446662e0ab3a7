//! Keys from outside: laws of the normal form, spellings of one thing, and comparison with published data.

mod laws;
mod scope;
mod shared_data;
mod spellings;

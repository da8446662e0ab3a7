//! The proof, pure and synchronous.

//! Entries as bytes: the envelope that carries the proof.

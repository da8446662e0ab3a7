//! Where entries are held: memory (L1) and the remote tier (L2).

//! Names of values: one normal form per class.

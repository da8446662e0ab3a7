//! A class of values and the ten decisions about it.

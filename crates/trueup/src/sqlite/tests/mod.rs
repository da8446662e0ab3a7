//! Tests that look at the log itself.

mod keeping;
mod shapes;
mod writes;

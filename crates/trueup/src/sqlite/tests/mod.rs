//! Tests that look at the log itself.

mod shapes;
mod writes;

//! What refuses or delays work.

mod budget;

pub(crate) use budget::Budget;

//! Declared groups of rows.

use serde::{Deserialize, Serialize};

/// A declared group of rows: those that share values in some columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSpec {
    /// Its name, which stands in the tag.
    pub name: String,
    /// Columns of the table, in the order of the tag's values.
    pub columns: Vec<String>,
}

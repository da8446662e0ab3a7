//! The journal of a plan's classes that are written behind.

use std::sync::Arc;

use trueup_core::{
    behind::{BehindError, Sink, WriteBehind},
    class::ClassPlan,
};

use super::CatalogError;
use crate::plan::{Plan, is_written_behind};

/// The classes whose accepted writes go to tables of the source.
pub(super) fn classes(plan: &Plan) -> impl Iterator<Item = &ClassPlan> {
    plan.classes.values().filter(|class| is_written_behind(class))
}

/// Opens the journal that the plan names, and brings to the source what it holds.
pub(super) async fn open(plan: &Plan, sink: Arc<dyn Sink>) -> Result<Option<WriteBehind>, CatalogError> {
    let Some(settings) = &plan.write_behind else { return Ok(None) };
    let opened = WriteBehind::open(settings.config(), sink).await;
    opened.map(Some).map_err(|why: BehindError| CatalogError::WriteBehind(Box::new(why)))
}

//! `/metrics`: what the node has counted, as Prometheus reads it. Keys never become labels.

mod absent;
mod behind;
mod class;
mod guard;
mod node;
mod remote;
mod warm;
mod writer;

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use self::writer::Writer;
use crate::node::Node;

/// What the text is, for `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// What all names begin with.
const PREFIX: &str = "trueup";

/// The metrics of one node, read anew at each scrape.
#[derive(Debug)]
pub struct Metrics(Registry);

#[derive(Debug)]
struct NodeCollector(Node);

impl Metrics {
    /// The metrics of `node`.
    #[must_use]
    pub fn new(node: Node) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(NodeCollector(node)));
        Self(registry)
    }

    /// The text of one scrape.
    ///
    /// # Errors
    /// None in practice: a String takes all text.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.0)?;
        Ok(out)
    }
}

impl Collector for NodeCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Writer::new(encoder);
        class::write(&self.0, &mut out)?;
        guard::write(&self.0, &mut out)?;
        warm::write(&self.0, &mut out)?;
        behind::write(&self.0, &mut out)?;
        node::write(&self.0, &mut out)?;
        remote::write(&self.0, &mut out)
    }
}

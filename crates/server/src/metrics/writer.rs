//! Families of metrics, one line per set of labels.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet},
    metrics::MetricType,
};
use trueup_core::stats::HistogramCounts;

/// Labels of one line: name and value.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

pub(super) struct Writer<'a>(DescriptorEncoder<'a>);

impl<'a> Writer<'a> {
    pub(super) const fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// A counter; `_total` is added to its name.
    pub(super) fn counter<'l, const N: usize, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        rows.into_iter().try_for_each(|(labels, count)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, V, u64>(&count, None)
        })
    }

    pub(super) fn gauge<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        rows.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    /// A histogram whose counts are in units of which a second has `units_per_s`.
    ///
    /// Dividing by a whole number gives the nearest float of each bound, which prints as the short decimal;
    /// multiplying by the unit's inexact length does not.
    pub(super) fn histogram<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        units_per_s: f64,
        rows: impl IntoIterator<Item = (Labels<'l, N>, HistogramCounts)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        rows.into_iter().try_for_each(|(labels, counts)| {
            // The encoder adds the buckets up; its last one has no bound.
            let bound = |bound: Option<u64>| bound.map_or(f64::MAX, |bound| bound as f64 / units_per_s);
            let buckets: Vec<(f64, u64)> = counts.buckets.iter().map(|(b, n)| (bound(*b), *n)).collect();
            let sum_s = counts.sum as f64 / units_per_s;
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                sum_s,
                counts.count(),
                &buckets,
                None,
            )
        })
    }
}
